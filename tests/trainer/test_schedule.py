"""Schedules: the factor of the rate at every step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from synthbench.trainer.schedule import Schedule
from tests.each import each


def factors(schedule: Schedule) -> list[float]:
    return [schedule.factor(step) for step in range(schedule.steps)]


@each("kind", ["cosine", "constant"])
def test_the_warm_up_is_linear_from_its_first_step_which_is_not_zero(kind: str) -> None:
    assert factors(Schedule(100, kind, 0.05))[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_constant_stays_at_one_after_the_warm_up() -> None:
    assert factors(Schedule(100, "constant", 0.05))[5:] == [1.0] * 95


def test_cosine_falls_at_every_step_and_ends_at_a_tenth() -> None:
    falling = factors(Schedule(100, "cosine", 0.05))[4:]
    assert all(later < earlier for earlier, later in pairwise(falling))
    assert falling[-1] == pytest.approx(0.1)


def test_cosine_is_at_the_mean_of_its_ends_half_way() -> None:
    assert Schedule(100, "cosine", 0.2).factor(19 + 40) == pytest.approx(0.55)


def test_without_warm_up_constant_is_one_from_the_first_step() -> None:
    assert factors(Schedule(3, "constant", 0.0)) == [1.0, 1.0, 1.0]


@each("kind", ["cosine", "constant"])
def test_a_schedule_may_be_all_warm_up(kind: str) -> None:
    assert factors(Schedule(4, kind, 1.0)) == [0.25, 0.5, 0.75, 1.0]


def test_a_share_of_less_than_half_a_step_is_no_warm_up() -> None:
    assert factors(Schedule(9, "constant", 0.05)) == [1.0] * 9
    assert factors(Schedule(1, "cosine", 0.05)) == pytest.approx([0.1])


@each("kind", ["cosine", "constant"])
@each("steps", [1, 2, 7, 180, 640])
@each("warmup", [0.0, 0.05, 0.5, 1.0])
def test_every_factor_lies_above_zero_and_at_most_at_one(kind: str, steps: int, warmup: float) -> None:
    assert all(0 < factor <= 1 for factor in factors(Schedule(steps, kind, warmup)))
