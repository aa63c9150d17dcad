"""Readings along a path: `x@fit` is a score read at equal fit and equal speed.

For each rate take T, the first step whose fit reaches t, and read the score there; interpolate linearly in log T between
the rates of one seed, at the speed (a number of steps) that is asked for. Nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log, nan

from synthbench.scores.registry import Score, register

Path = Mapping[int, Mapping[str, float]]  # scores by step
ENOUGH = 0.8  # share of a cell's seeds whose rates must bracket a speed


def crossing(path: Path, threshold: float) -> float | None:
    """The first step at which fit reaches the threshold, interpolated between points; None if it never does."""
    earlier: tuple[int, float] | None = None
    for step in sorted(path):
        fit = path[step].get("fit", nan)
        if fit != fit:
            return None
        if fit >= threshold:
            if earlier is None:
                return float(step)
            before, low = earlier
            return before + (step - before) * (threshold - low) / (fit - low)
        earlier = step, fit
    return None


def value_at(path: Path, name: str, step: float) -> float:
    """A score at a step between two points, interpolated linearly; NaN where it was not measured."""
    steps = sorted(path)
    right = next(s for s in steps if s >= step)
    left = max((s for s in steps if s <= step), default=right)
    low, high = path[left].get(name, nan), path[right].get(name, nan)
    return low if left == right else low + (high - low) * (step - left) / (right - left)


def at_speed(readings: Sequence[tuple[float, float]], speed: float) -> float:
    """The score at a speed, from (T, score) of the rates of one seed; NaN where no two rates bracket the speed.

    Where paths of neighbouring rates cross the speed more than once, the fastest pair in order of T is taken.
    """
    ordered = sorted(readings)
    for (fast, low), (slow, high) in pairwise(ordered):
        if fast <= speed <= slow:
            return low if fast == slow else low + (high - low) * log(speed / fast) / log(slow / fast)
    return nan


def of_seed(paths: Sequence[Path], name: str, threshold: float, speed: float) -> float:
    """The reading of one seed from the paths of its rates; NaN where it is not reached."""
    crossings = [(path, crossing(path, threshold)) for path in paths]
    return at_speed([(step, value_at(path, name, step)) for path, step in crossings if step], speed)


def is_reached(seeds: Sequence[float]) -> bool:
    """Whether enough seeds have a reading for the cell to have one."""
    return bool(seeds) and sum(value == value for value in seeds) >= ENOUGH * len(seeds)


for name, unit, span, better in (
    ("rule_accuracy", "share", "0 to 1", "up"),
    ("rote_gap", "share", "-2 to 2", "down"),
    ("forgetting", "share", "-1 to 1", "down"),
    ("fact_forgetting", "share", "-1 to 1", "down"),
    ("skill_forgetting", "share", "-1 to 1", "down"),
    ("retention", "share", "0 to inf", "up"),
    ("loss_forgetting", "nats/token", "-inf to inf", "down"),
    ("kl_new", "nats/answer", "0 to inf", "-"),
):  # fmt: skip
    formula = f"{name} at the step where fit first reaches the card's t, between rates at the card's speed"
    register(Score(f"{name}@fit", formula, unit, span, better, "synthbench; arXiv 2605.02105", "cell"))  # type: ignore[arg-type]
