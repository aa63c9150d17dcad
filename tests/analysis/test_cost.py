"""The cost of an experiment: runs, steps, worker time and elapsed time."""

from __future__ import annotations

import pytest

from synthbench.analysis.cost import Spent, spent
from synthbench.experiment.runs import Result
from synthbench.reporting import notes


def result(name: str, started: str, seconds: float, fleet: int, steps: int) -> Result:
    return Result(name, "ok", path={0: {}, steps: {}}, started=started, seconds=seconds, fleet_size=fleet)


def test_worker_time_and_elapsed_time_by_hand() -> None:
    first_fleet = [result(name, "2026-01-01T10:00:00+00:00", 30.0, 2, 100) for name in "ab"]  # one fleet of 60 seconds
    second_fleet = result("c", "2026-01-01T10:00:50+00:00", 60.0, 1, 50)
    cost = spent([*first_fleet, second_fleet])
    assert cost == Spent(runs=3, steps=250, seconds=120.0, span=110.0)
    assert cost.pace == pytest.approx(120 / 250)
    assert all(phrase in notes.spent(cost) for phrase in ("3 runs", "250 run-steps", "2 minutes", "1.83 minutes"))


def test_runs_without_a_duration_cost_nothing() -> None:
    assert spent([Result("a", "ok", path={0: {}, 10: {}})]) == Spent()
    assert Spent().pace == 0
