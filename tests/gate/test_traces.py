"""Traces: repeatable bit by bit, within bounds from perturbed starts, beyond bounds under every regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthbench.gate import baseline as baselines
from synthbench.gate import comparison
from synthbench.gate.baseline import TraceCard
from synthbench.gate.record import trace
from synthbench.gate.traces import FAR, Trace, deviation, traces
from synthbench.trainer.optimizers import muon
from tests.each import each
from tests.gate import regressions, small, study
from tests.gate.regressions import REGRESSIONS, Faults, Regression
from tests.gate.study import BASELINES, OPTIMIZERS, by_trace

SEEDS = (0, 1)
# The library's copies without a fault: a check must detect the fault, not the copy.
COPIES = [
    Regression("AdamW's copy", "adamw", regressions.with_step("adamw", regressions.adam(Faults()))),
    Regression("SGD's copy", "sgd", regressions.with_step("sgd", regressions.sgd_step())),
    Regression("Muon's step", "muon", regressions.with_step("muon", regressions.muon_step())),
    Regression("Newton-Schulz", "muon", regressions.with_attribute(muon, "newton_schulz", regressions.newton_schulz())),
]


@pytest.fixture(params=["tiny", pytest.param("gate", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The runner of the study's experiments."""
    if request.param == "tiny":
        monkeypatch.setattr(
            study, "make_experiment", lambda name, seeds: small.make_experiment(tmp_path, name, seeds=seeds)
        )
    return str(request.param)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_traces_repeat_bit_by_bit_and_perturbed_starts_stay_within_bounds(optimizer: str, runner: str) -> None:
    experiment = study.make_experiment(optimizer, len(SEEDS))
    before = trace(experiment)
    for regression in REGRESSIONS:
        with regression.patch():
            pass
    with next(item for item in REGRESSIONS if item.optimizer == optimizer).patch():
        digests = {traced.name: traced.digests for traced in traces(experiment, SEEDS)}
    assert {line.verdict for line in comparison.exact(before, digests)} == {"changed"}
    assert {
        traced.name: list(traced.digests) for traced in traces(experiment, SEEDS)
    } == before.digests  # no patch remains
    lines = comparison.traces(before, traces(experiment, SEEDS, perturbed=7))
    assert {line.verdict for line in lines} == {"unchanged"}
    assert max(line.difference / line.allowed for line in lines) < 0.5
    assert max(line.difference for line in lines) > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_regression_is_detected_and_a_copy_without_a_fault_is_unchanged(optimizer: str, runner: str) -> None:
    """On the runner `gate` against the committed baseline."""
    committed = baselines.read(BASELINES / f"{optimizer}.json").trace
    before = committed if runner == "gate" else trace(study.make_experiment(optimizer, len(SEEDS)))
    for regression in (*COPIES, *REGRESSIONS):
        if regression.optimizer == optimizer:
            lines = by_trace(regression, before)
            assert comparison.overall(lines) == ("unchanged" if regression in COPIES else "changed"), regression.name
            assert regression in COPIES or max(line.difference / line.allowed for line in lines) > 5, regression.name


@pytest.mark.slow
@each("optimizer", OPTIMIZERS)
def test_other_kernels_change_a_trace_by_rounding_only(optimizer: str) -> None:
    lines = study.with_other_kernels(optimizer)
    assert comparison.overall(lines) == "unchanged"
    assert max(line.difference / line.allowed for line in lines) < 0.5


@each("optimizer", OPTIMIZERS)
def test_the_first_steps_are_unchanged_from_the_committed_baselines(optimizer: str) -> None:
    assert comparison.overall(small.check_first_steps(BASELINES / f"{optimizer}.json")) == "unchanged"


def test_a_deviation_is_relative_to_the_mean_size_and_largest_where_one_side_is_not_finite() -> None:
    before, after = np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [3.1, 4.4]])
    assert deviation(before, after).tolist() == [0, pytest.approx(0.4 / 4.2)]
    nan = np.array([[np.nan]])
    assert deviation(nan, nan).tolist() == [0]
    assert deviation(nan, np.array([[1.0]])).tolist() == [FAR]
    assert deviation(np.array([[1.0]]), nan).tolist() == [FAR]
    grown = np.array([[1.0], [np.inf]])
    assert deviation(1.5 * grown, grown).tolist() == [pytest.approx(1.0), 0]  # an infinite value hides no other step


def test_a_trace_below_an_uninformative_bound_is_inconclusive() -> None:
    values, floors = {"a/full": {"loss": [[1.0, 1.0]]}}, {"a/full": {"loss": 0.1}}
    card = TraceCard(seeds=[0], values=values, floors=floors, digests={"a/full": ["x"]})
    same = Trace("a/full", {"loss": np.array([[1.0], [1.0]])}, ("x",))
    (line,) = comparison.traces(card, [same])
    assert line.verdict == "inconclusive"
    (line,) = comparison.traces(card, [same._replace(values={"loss": np.array([[1.0], [9.0]])})])
    assert (line.verdict, line.step) == ("changed", 2)


def test_a_diverging_trace_is_inconclusive(tmp_path: Path) -> None:
    """Its losses are NaN from some step on, since the rate is beyond float32; other rounding may reach that step sooner or
    later."""
    experiment = small.make_experiment(tmp_path, "sgd", settings=["stages.finetune.lr=[1e39]"])
    recorded = trace(experiment)
    assert None in recorded.values["finetune/full"]["loss"][0]
    assert comparison.uninformative(recorded) == ["finetune/full", "finetune/lora-4"]
    repeated = traces(experiment, recorded.seeds)
    diverged_sooner = [
        traced._replace(values={name: value * np.nan for name, value in traced.values.items()}) for traced in repeated
    ]
    for after in (repeated, diverged_sooner):
        verdicts = {line.verdict for line in comparison.traces(recorded, after) if line.where != "pretrain/full"}
        assert verdicts == {"inconclusive"}
