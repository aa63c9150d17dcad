"""Schedules: the factor of the learning rate at every step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from synthbench.trainer.schedule import Schedule
from tests.each import each


def factors(schedule: Schedule) -> list[float]:
    return [schedule.factor(step) for step in range(schedule.steps)]


@each(
    ("steps", "kind", "warmup", "expected"),
    [
        (100, "constant", 0.05, [0.2, 0.4, 0.6, 0.8] + [1.0] * 96),  # the first factor is not zero
        (3, "constant", 0.0, [1.0] * 3),
        (4, "constant", 1.0, [0.25, 0.5, 0.75, 1.0]),
        (4, "cosine", 1.0, [0.25, 0.5, 0.75, 1.0]),
        (9, "constant", 0.05, [1.0] * 9),  # less than half a step is no warm-up
        (1, "cosine", 0.05, [0.1]),
    ],
)
def test_the_warm_up_is_linear_and_what_follows_is_constant(
    steps: int, kind: str, warmup: float, expected: list[float]
) -> None:
    assert factors(Schedule(steps, kind, warmup)) == pytest.approx(expected)


def test_cosine_falls_after_the_warm_up_to_a_tenth() -> None:
    cosine = factors(Schedule(100, "cosine", 0.05))
    assert cosine[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later < earlier for earlier, later in pairwise(cosine[4:]))
    assert cosine[-1] == pytest.approx(0.1)
    assert Schedule(100, "cosine", 0.2).factor(19 + 40) == pytest.approx(0.55)  # halfway, the mean of both ends


@each("kind", ["cosine", "constant"])
@each("steps", [1, 2, 7, 180, 640])
@each("warmup", [0.0, 0.05, 0.5, 1.0])
def test_every_factor_is_above_zero_and_at_most_one(kind: str, steps: int, warmup: float) -> None:
    assert all(0 < factor <= 1 for factor in factors(Schedule(steps, kind, warmup)))
