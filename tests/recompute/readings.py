"""A row's scores by seed: at the end, of its base (`x@base`), and along paths: `x@fit`, `x@fits`, `x@steps`, `x@t`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import inf, log, nan
from statistics import fmean

import numpy as np

from tests.recompute.rows import Row
from tests.recompute.runs import Object, curve

Values = dict[int, float]  # by seed
Marks = dict[int, str]  # `>` or `<` of values that are only bounds
FITS = (0.5, 0.6, 0.7, 0.8, 0.9)
ENOUGH = 0.8  # of the seeds


def values(row: Row, name: str, target: float | None = None) -> Values:
    """By seed; of what is only known to lie beyond, the bound."""
    return _read(row, name, target or row.reading["target_step"])[0]


def marks(row: Row, name: str) -> Marks:
    return _read(row, name, row.reading["target_step"])[1]


def bounded(row: Row, name: str, target: float | None = None) -> Values:
    """Values for differences: bounds are infinite."""
    ends, of_seed = {">": inf, "<": -inf}, marks(row, name)
    return {seed: ends.get(of_seed.get(seed, ""), value) for seed, value in values(row, name, target).items()}


@cache
def _read(row: Row, name: str, target: float) -> tuple[Values, Marks]:
    score, _, where = name.partition("@")
    if where == "t":
        return _to_rule(row, score)
    if where == "base":
        return starts(row, score), {}
    found = {run["seed"]: run["scores"][score] for run in row.chosen if run["scores"][score] is not None}
    if where in ("fit", "fits") and found:
        fits = FITS if where == "fits" else (row.reading["fit"],)
        found = {seed: _between(row, seed, score, target * row.size, fits) for seed in row.seeds}
        found = found if sum(value == value for value in found.values()) >= ENOUGH * len(found) else {}
    elif where == "steps" and found:
        found = {run["seed"]: _along(run, score, target * row.size) for run in row.chosen}
    return {seed: round(value, 6) for seed, value in sorted(found.items()) if value == value}, {}


def starts(row: Row, name: str) -> Values:
    """A score of the models that a row starts from."""
    runs = row.before.chosen if row.before else []
    known = [(run["seed"], run["scores"][name]) for run in runs if run["seed"] in row.seeds]
    return {seed: round(value, 6) for seed, value in known if value is not None}


def _along(run: Object, name: str, step: float) -> float:
    """A score at a step, linear between points; NaN beyond the end."""
    by_step = curve(run, name)
    return float(np.interp(step, [*by_step], [*by_step.values()], right=nan))


@cache
def _crossings(row: Row, fit: float) -> dict[str, float]:
    """By run the first step, linear between points, that reaches a fit; 0 where none does."""
    name = row.reading.get("fit_of", "fit")
    return {run["run"]: _crossing(curve(run, name), fit) for run in row.converged}


def _crossing(by_step: Mapping[int, float], level: float) -> float:
    for (before, low), (step, high) in pairwise([(-1, nan), *by_step.items()]):
        if not high < level:
            between = before + (step - before) * (level - low) / (high - low) if low == low else float(step)
            return between if high == high else 0.0
    return 0.0


def _between(row: Row, seed: int, score: str, target: float, fits: Sequence[float]) -> float:
    """A score where fits are reached, linear in log T between two rates, neighbours in T, around the target step."""
    runs = {run["run"]: run for run in row.converged if run["seed"] == seed}
    steps = _crossings(row, row.reading["fit"])
    in_order = sorted((steps[run], place, run) for place, run in enumerate(runs) if steps[run])
    for (fast, _, first), (slow, _, second) in pairwise(in_order):
        if fast <= target <= slow:
            share = log(target / fast) / log(slow / fast) if slow > fast else 0.0
            reached = [[_crossings(row, fit)[run] for fit in fits] for run in (first, second)]
            low, high = (fmean(_along(runs[run], score, step) if step else nan for step in steps_of)
                         for run, steps_of in zip((first, second), reached, strict=True))  # fmt: skip
            return low + share * (high - low) if share else low
    return nan


def _to_rule(row: Row, score: str) -> tuple[Values, Marks]:
    """Steps or items to the card's rule accuracy."""
    curves = {run["seed"]: curve(run, "rule_accuracy") for run in row.chosen if score == "steps_to_rule"}
    if score == "examples_to_rule" and len(row.sizes) > 1 and "rule" in row.runs[0]["examples"]:
        sizes = [(other.runs[0]["examples"]["rule"], values(other, "rule_accuracy")) for other in row.sizes]
        curves = {seed: {items: of_size.get(seed, nan) for items, of_size in sizes} for seed in row.seeds}
    found = {seed: _first_reaching(curves[seed], row.reading.get("rule", 0.5)) for seed in sorted(curves)}
    known = {seed: at for seed, at in found.items() if at}
    return {seed: at[0] for seed, at in known.items()}, {seed: at[1] for seed, at in known.items() if at[1]}


def _first_reaching(by_key: Mapping[int, float], level: float) -> tuple[float, str] | None:
    """The first key that reaches a level, linear in its logarithm, with a mark where it is only a bound."""
    points = sorted((key, value) for key, value in by_key.items() if key > 0 and value == value)
    if not points or points[0][1] >= level:
        return (float(points[0][0]), "<") if points else None
    for (before, low), (after, high) in pairwise(points):
        if high >= level:
            return float(np.exp(np.interp(level, [low, high], [log(before), log(after)]))), ""
    return float(points[-1][0]), ">"
