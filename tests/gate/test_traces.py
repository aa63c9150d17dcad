"""Traces: repeated bit by bit, hardly moved by perturbed starts, and parted by every regression of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthbench.experiment.resolve import Asked
from synthbench.gate import compared, stored, subject
from synthbench.gate.baseline import TraceCard
from synthbench.gate.record import trace
from synthbench.gate.traced import FAR, deviation, traces
from synthbench.trainer.rules import muon
from tests.gate import regressions, small
from tests.gate.regressions import REGRESSIONS, Faults, Regression
from tests.gate.study import BASELINES, OPTIMIZERS, by_trace, experiment

SEEDS = (0, 1)
# The library's copies without a fault: what they are caught for must be the fault, not the copy.
CONTROLS = {
    "AdamW's copy": ("adamw", regressions.rule("adamw", regressions.adam(Faults()))),
    "SGD's copy": ("sgd", regressions.rule("sgd", regressions.sgd_step())),
    "Muon's step": ("muon", regressions.rule("muon", regressions.muon_step())),
    "Newton-Schulz": ("muon", regressions.function(muon, "newton_schulz", regressions.newton_schulz())),
}


def recorded(optimizer: str) -> TraceCard:
    """As it was committed, on some machine."""
    return stored.read(BASELINES / f"{optimizer}.json").trace


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_trace_is_repeated_bit_by_bit_and_a_perturbed_start_stays_below_what_is_allowed(optimizer: str) -> None:
    own = experiment(optimizer, len(SEEDS))
    before = trace(own)
    for regression in REGRESSIONS:  # nothing of them stays
        with regression.patch():
            pass
    assert {one.name: list(one.digests) for one in traces(own, SEEDS)} == before.digests
    lines = compared.traces(before, traces(own, SEEDS, perturbed=7))
    assert {line.verdict for line in lines} == {"unchanged"}
    assert max(line.difference / line.allowed for line in lines) < 0.5
    assert max(line.difference for line in lines) > 0


@pytest.mark.parametrize("regression", REGRESSIONS, ids=[one.name for one in REGRESSIONS])
def test_every_regression_is_caught_well_above_what_is_allowed(regression: Regression) -> None:
    lines = by_trace(regression, recorded(regression.optimizer))
    assert compared.overall(lines) == "changed"
    assert max(line.difference / line.allowed for line in lines) > 10


@pytest.mark.parametrize("name", CONTROLS)
def test_a_copy_without_a_fault_is_unchanged(name: str) -> None:
    optimizer, copy = CONTROLS[name]
    assert compared.overall(by_trace(Regression(name, optimizer, copy), recorded(optimizer))) == "unchanged"


def test_a_deviation_is_relative_to_the_mean_size_of_a_quantity() -> None:
    one, other = np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [3.1, 4.4]])
    found = deviation(one, other)
    assert found.tolist() == [0, pytest.approx(0.4 / 4.2)]


def test_what_is_no_number_deviates_most_unless_both_are_none() -> None:
    nan = np.array([[np.nan]])
    assert deviation(nan, nan).tolist() == [0]
    assert deviation(nan, np.array([[1.0]])).tolist() == [FAR]
    assert deviation(np.array([[1.0]]), nan).tolist() == [FAR]
    grown = np.array([[1.0], [np.inf]])
    assert deviation(1.5 * grown, grown).tolist() == [pytest.approx(1.0), 0]  # what is infinite hides no other step


def test_a_floor_that_allows_everything_decides_nothing() -> None:
    card = TraceCard(
        seeds=[0],
        values={"a/full": {"loss": [[1.0, 1.0]]}},
        floors={"a/full": {"loss": 0.1}},
        digests={"a/full": ["x"]},
    )
    from synthbench.gate.traced import Trace

    same = Trace("a/full", {"loss": np.array([[1.0], [1.0]])}, ("x",))
    (line,) = compared.traces(card, [same])
    assert line.verdict == "could not tell"
    (line,) = compared.traces(card, [same._replace(values={"loss": np.array([[1.0], [9.0]])})])
    assert (line.verdict, line.step) == ("changed", 2)


def test_a_trace_that_diverges_decides_nothing(tmp_path: Path) -> None:
    """Its losses are no numbers from some step on, which other rounding may reach a step sooner or later."""
    card = small.card(tmp_path)
    own = subject.to_record(Asked(card, ["sgd"], settings=["stages.finetune.lr=[1e38]"], device="cpu"))
    recorded = trace(own)
    assert None in recorded.values["finetune/full"]["loss"][0]
    assert compared.blind(recorded) == ["finetune/full", "finetune/lora-4"]
    again = traces(own, recorded.seeds)
    sooner = [one._replace(values={name: value * np.nan for name, value in one.values.items()}) for one in again]
    for after in (again, sooner):
        verdicts = {line.verdict for line in compared.traces(recorded, after) if line.where != "pretrain/full"}
        assert verdicts == {"could not tell"}
