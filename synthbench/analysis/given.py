"""A contrast of a score given another score: what is left of it at equal values of a covariate (analysis of covariance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import fmean

from synthbench.analysis.contrast import RESOLUTION, Contrast, Values
from synthbench.analysis.pairing import Pair, values_of
from synthbench.analysis.rows import Row
from synthbench.scores import SCORES

Both = Mapping[int, tuple[float, float]]  # score and covariate by seed


def contrast(pairs: Sequence[Pair], name: str, covariate: str, target_step: int | None = None) -> Contrast:
    """What the mean over pairs of row - other is estimated from, at equal values of a covariate.

    In each task the difference is that in the score less a slope times that in the covariate. The slope is of the seeds'
    deviations from each row's own means, so that differences between rows do not enter it; its error counts, for the values
    by seed are the jackknife's: n times the difference of all seeds less n - 1 times that without the seed. Their mean and
    deviation estimate the difference and n times its squared error (Efron and Stein).
    """
    tasks: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        tasks.setdefault((pair.row.task, pair.row.size, tuple(sorted(pair.row.axes.items()))), []).append(pair)
    resolution = RESOLUTION if SCORES[name].unit == "share" else 0.0
    return Contrast([_jackknife(of_task, name, covariate, target_step) for of_task in tasks.values()], None, resolution)


def _jackknife(pairs: Sequence[Pair], name: str, covariate: str, target_step: int | None) -> Values:
    """Pseudo-values by seed; none where there are fewer than three seeds."""
    sides = [tuple(_both(row, name, covariate, target_step) for row in pair) for pair in pairs]
    seeds = sorted({seed for pair in sides for row in pair for seed in row})
    n, whole = len(seeds), at_equal(sides)
    without = {seed: at_equal([tuple(_left(row, seed) for row in pair) for pair in sides]) for seed in seeds}
    values = {seed: n * whole - (n - 1) * value for seed, value in without.items()}
    return values if n >= 3 and all(value == value for value in values.values()) else {}


def _both(row: Row, name: str, covariate: str, target_step: int | None) -> Both:
    score, other = (values_of(row, one, target_step) for one in (name, covariate))
    return {seed: (score[seed], other[seed]) for seed in sorted(score.keys() & other.keys())}


def _left(row: Both, seed: int) -> Both:
    return {other: pair for other, pair in row.items() if other != seed}


def at_equal(sides: Sequence[tuple[Both, ...]]) -> float:
    """The mean over pairs of the difference in the score, less the slope times that in the covariate; NaN where a row has
    no seed."""
    if not all(row for pair in sides for row in pair):
        return nan
    slope = within_slope([row for pair in sides for row in pair])
    return fmean(_difference(pair, 0) - slope * _difference(pair, 1) for pair in sides)


def _difference(pair: tuple[Both, ...], side: int) -> float:
    first, second = (fmean(both[side] for both in row.values()) for row in pair)
    return first - second


def within_slope(rows: Sequence[Both]) -> float:
    """The slope of values over covariates, of the deviations from each row's means; 0 where the covariate is constant."""
    products = squares = 0.0
    for row in rows:
        x_mean, z_mean = (fmean(both[side] for both in row.values()) for side in (0, 1))
        products += sum((x - x_mean) * (z - z_mean) for x, z in row.values())
        squares += sum((z - z_mean) ** 2 for _, z in row.values())
    return products / squares if squares else 0.0
