"""Readings along a path: `x@fit` is a score read at equal fit and equal target_step, `x@fits` its mean over several fits
on the way there, `x@steps` the score at equal steps. `x` itself, also `x@end`, is read at the last step.

At equal fit: for each rate take T, the first step whose fit reaches t, and read the score there; interpolate linearly in
log T between the rates of one seed, at the target step (a number of steps) that is asked for. Nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log, nan
from statistics import fmean
from typing import NamedTuple

from synthbench.scores.registry import SCORES, Score, register

Path = Mapping[int, Mapping[str, float]]  # scores by step
FITS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of a reading over fit
ENOUGH = 0.8  # share of a cell's seeds whose rates must bracket a target step


def crossing(path: Path, threshold: float, fit_of: str = "fit") -> float | None:
    """The first step at which fit (or another score in its place) reaches the threshold, interpolated between points; None
    if it never does."""
    earlier: tuple[int, float] | None = None
    for step in sorted(path):
        fit = path[step].get(fit_of, nan)
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


class Bracket(NamedTuple):
    """The two rates between which a target step lies, by their places, and how far from the faster to the slower one."""

    fast: int
    slow: int
    weight: float

    def between(self, values: Sequence[float]) -> float:
        """A value of each rate, interpolated."""
        low, high = values[self.fast], values[self.slow]
        return low if self.weight == 0 else low + (high - low) * self.weight


def bracket(steps: Sequence[float | None], target_step: float) -> Bracket | None:
    """Which of these rates, given the step at which each reaches fit, the target step lies between; in log T.

    Where paths of neighbouring rates cross the target step more than once, the fastest pair in order of T is taken.
    """
    ordered = sorted((step, index) for index, step in enumerate(steps) if step)
    for (fast, first), (slow, second) in pairwise(ordered):
        if fast <= target_step <= slow:
            return Bracket(first, second, 0.0 if fast == slow else log(target_step / fast) / log(slow / fast))
    return None


class Rates:
    """The paths of the rates of one seed. The steps at which they reach a fit are found once. fit_of: the score that is
    meant by fit."""

    def __init__(self, paths: Sequence[Path], fit_of: str = "fit") -> None:
        self._paths, self._fit_of = paths, fit_of
        self._steps: dict[float, list[float | None]] = {}

    def steps(self, fit: float) -> list[float | None]:
        """By rate the step at which a fit is first reached, None where it never is."""
        if fit not in self._steps:
            self._steps[fit] = [crossing(path, fit, self._fit_of) for path in self._paths]
        return self._steps[fit]

    def at_fit(self, name: str, threshold: float, target_step: float) -> float:
        """A score where fit first reaches the threshold, at the target step; NaN where it is not reached."""
        around = bracket(self.steps(threshold), target_step)
        return self._at(around, name, threshold) if around else nan

    def over_fits(self, name: str, threshold: float, target_step: float) -> float:
        """Mean of a score over the steps at which fit first reaches each of FITS, at the rate that takes `target step`
        steps to the threshold: a path's whole front in one number. NaN where it is not reached."""
        around = bracket(self.steps(threshold), target_step)
        return fmean(self._at(around, name, fit) for fit in FITS) if around else nan

    def _at(self, around: Bracket, name: str, fit: float) -> float:
        steps = self.steps(fit)
        return around.between([value_at(path, name, step) if step else nan
                               for path, step in zip(self._paths, steps, strict=True)])  # fmt: skip


def at_step(path: Path, name: str, step: float) -> float:
    """A score at a step of a path, NaN beyond its end."""
    return value_at(path, name, step) if step <= max(path, default=-1) else nan


class Reached(NamedTuple):
    """Where something first reaches a threshold. censored: `>` if it never does and is only known to lie beyond the
    value, `<` if it does from the first on, else empty."""

    value: float
    censored: str


def first_reaching(curve: Mapping[int, float], threshold: float) -> Reached | None:
    """The least key (steps, items) whose value is at least the threshold, interpolated linearly in the key's logarithm;
    None where nothing was measured."""
    measured = sorted((key, value) for key, value in curve.items() if key > 0 and value == value)
    if not measured:
        return None
    if measured[0][1] >= threshold:
        return Reached(float(measured[0][0]), "<")
    for (before, low), (key, high) in pairwise(measured):
        if high >= threshold:
            return Reached(before * (key / before) ** ((threshold - low) / (high - low)), "")
    return Reached(float(measured[-1][0]), ">")


def median(seeds: Sequence[Reached]) -> Reached | None:
    """The median over seeds, those that are only known to lie beyond counted as beyond all others; a bound where it is
    one of them."""
    if not seeds:
        return None
    ordered = sorted(seeds, key=lambda seed: (seed.censored == ">", seed.value))
    low, high = ordered[(len(seeds) - 1) // 2], ordered[len(seeds) // 2]
    value = (low.value + high.value) / 2
    return Reached(value, ">" if high.censored == ">" else "<" if low.censored == "<" else "")


def is_reached(seeds: Sequence[float]) -> bool:
    """Whether enough seeds have a reading for the cell to have one."""
    return bool(seeds) and sum(value == value for value in seeds) >= ENOUGH * len(seeds)


READINGS = {
    "fit": "{} at the step where fit first reaches the card's t, between rates at the card's target step",
    "fits": f"mean of {{}} where fit first reaches each of {', '.join(map(str, FITS))}, at the rate that takes the card's "
            "target step to the card's t",
    "steps": "{} at the card's target step, at the chosen rate",
}  # fmt: skip
BETWEEN_RATES = {"@fit": Rates.at_fit, "@fits": Rates.over_fits}  # ends of names: these are read between a seed's rates
for of in [score for score in SCORES.values() if score.level == "point" and score.is_along]:
    for reading, formula in READINGS.items():
        if of.name != "fit" or reading == "steps":  # at one fit, fit is that fit
            words = formula.format(of.name), of.unit, of.range, of.better
            register(Score(f"{of.name}@{reading}", *words, "synthbench; arXiv 2605.02105", "cell"))
for score in (
    Score("steps_to_rule@t", "first step with rule_accuracy at the card's t, interpolated in log steps, at the chosen "
          "rate; the median over seeds, those that never reach it counted as later", "steps", "0 to inf", "down",
          "arXiv 2504.16041", "cell"),
    Score("examples_to_rule@t", "least number of trained rule items with rule_accuracy at the card's t at the end, "
          "interpolated in log items over the card's sizes, each at its chosen rate; the median over seeds, those that "
          "never reach it counted as more", "items", "0 to inf", "down", "synthbench", "cell"),
):  # fmt: skip
    register(score)
