"""Traces: repeated bit by bit, hardly moved by perturbed starts, and parted by every regression of the library."""

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
# The library's copies without a fault: what they are caught for must be the fault, not the copy.
COPIES = [
    Regression("AdamW's copy", "adamw", regressions.rule("adamw", regressions.adam(Faults()))),
    Regression("SGD's copy", "sgd", regressions.rule("sgd", regressions.sgd_step())),
    Regression("Muon's step", "muon", regressions.rule("muon", regressions.muon_step())),
    Regression("Newton-Schulz", "muon", regressions.function(muon, "newton_schulz", regressions.newton_schulz())),
]


@pytest.fixture(params=["tiny", pytest.param("gate", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of the study's experiments."""
    if request.param == "tiny":
        monkeypatch.setattr(study, "experiment", lambda name, seeds: small.experiment(tmp_path, name, seeds=seeds))
    return str(request.param)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_trace_is_repeated_bit_by_bit_and_a_perturbed_start_stays_below_what_is_allowed(
    optimizer: str, runner: str
) -> None:
    own = study.experiment(optimizer, len(SEEDS))
    before = trace(own)
    for regression in REGRESSIONS:
        with regression.patch():
            pass
    with next(one for one in REGRESSIONS if one.optimizer == optimizer).patch():
        bits = {one.name: one.digests for one in traces(own, SEEDS)}
    assert {line.verdict for line in comparison.exact(before, bits)} == {"changed"}
    assert {one.name: list(one.digests) for one in traces(own, SEEDS)} == before.digests  # of them nothing stays
    lines = comparison.traces(before, traces(own, SEEDS, perturbed=7))
    assert {line.verdict for line in lines} == {"unchanged"}
    assert max(line.difference / line.allowed for line in lines) < 0.5
    assert max(line.difference for line in lines) > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_regression_is_caught_and_a_copy_without_a_fault_is_unchanged(optimizer: str, runner: str) -> None:
    """On the gate against the baseline that was committed, on some machine."""
    committed = baselines.read(BASELINES / f"{optimizer}.json").trace
    before = committed if runner == "gate" else trace(study.experiment(optimizer, len(SEEDS)))
    for one in (*COPIES, *REGRESSIONS):
        if one.optimizer == optimizer:
            lines = by_trace(one, before)
            assert comparison.overall(lines) == ("unchanged" if one in COPIES else "changed"), one.name
            assert one in COPIES or max(line.difference / line.allowed for line in lines) > 5, one.name


@pytest.mark.slow
@each("optimizer", OPTIMIZERS)
def test_other_kernels_move_a_trace_by_rounding_alone(optimizer: str) -> None:
    lines = study.elsewhere(optimizer)
    assert comparison.overall(lines) == "unchanged"
    assert max(line.difference / line.allowed for line in lines) < 0.5


@each("optimizer", OPTIMIZERS)
def test_the_first_steps_are_as_they_were_committed(optimizer: str) -> None:
    assert comparison.overall(small.begun(BASELINES / f"{optimizer}.json")) == "unchanged"


def test_a_deviation_is_relative_to_the_mean_size_and_what_is_no_number_deviates_most_unless_both_are_none() -> None:
    one, other = np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [3.1, 4.4]])
    assert deviation(one, other).tolist() == [0, pytest.approx(0.4 / 4.2)]
    nan = np.array([[np.nan]])
    assert deviation(nan, nan).tolist() == [0]
    assert deviation(nan, np.array([[1.0]])).tolist() == [FAR]
    assert deviation(np.array([[1.0]]), nan).tolist() == [FAR]
    grown = np.array([[1.0], [np.inf]])
    assert deviation(1.5 * grown, grown).tolist() == [pytest.approx(1.0), 0]  # what is infinite hides no other step


def test_a_floor_that_allows_everything_decides_nothing() -> None:
    values, floors = {"a/full": {"loss": [[1.0, 1.0]]}}, {"a/full": {"loss": 0.1}}
    card = TraceCard(seeds=[0], values=values, floors=floors, digests={"a/full": ["x"]})
    same = Trace("a/full", {"loss": np.array([[1.0], [1.0]])}, ("x",))
    (line,) = comparison.traces(card, [same])
    assert line.verdict == "inconclusive"
    (line,) = comparison.traces(card, [same._replace(values={"loss": np.array([[1.0], [9.0]])})])
    assert (line.verdict, line.step) == ("changed", 2)


def test_a_trace_that_diverges_decides_nothing(tmp_path: Path) -> None:
    """Its losses are no numbers from some step on, which other rounding may reach a step sooner or later."""
    own = small.experiment(tmp_path, "sgd", settings=["stages.finetune.lr=[1e38]"])
    recorded = trace(own)
    assert None in recorded.values["finetune/full"]["loss"][0]
    assert comparison.uninformative(recorded) == ["finetune/full", "finetune/lora-4"]
    again = traces(own, recorded.seeds)
    sooner = [one._replace(values={name: value * np.nan for name, value in one.values.items()}) for one in again]
    for after in (again, sooner):
        verdicts = {line.verdict for line in comparison.traces(recorded, after) if line.where != "pretrain/full"}
        assert verdicts == {"inconclusive"}
