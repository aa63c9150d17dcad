"""What an experiment took, by hand."""

from __future__ import annotations

import pytest

from synthbench.analysis.cost import Spent, spent
from synthbench.experiment.runs import Result
from synthbench.reporting import notes


def result(name: str, started: str, seconds: float, fleet: int, steps: int) -> Result:
    return Result(name, "ok", path={0: {}, steps: {}}, started=started, seconds=seconds, fleet_size=fleet)


def test_time_is_that_of_workers_and_of_the_clock() -> None:
    two = [result(name, "2026-01-01T10:00:00+00:00", 30.0, 2, 100) for name in "ab"]  # a fleet of a minute
    third = result("c", "2026-01-01T10:00:50+00:00", 60.0, 1, 50)
    found = spent([*two, third])
    assert found == Spent(runs=3, steps=250, seconds=120.0, span=110.0)
    assert found.pace == pytest.approx(120 / 250)
    assert all(part in notes.spent(found) for part in ("3 runs", "250 run-steps", "2 minutes", "1.83 minutes"))


def test_runs_without_a_time_took_none() -> None:
    assert spent([Result("a", "ok", path={0: {}, 10: {}})]) == Spent()
    assert Spent().pace == 0
