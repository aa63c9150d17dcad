"""What a score does along an axis: its fitted change, where it turns, and whether it reverses the order of the bases.

All of it is computed seed by seed within each stratum, from the values that the seed has there. Strata count once each, and
tests are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from synthbench.analysis.contrast import RESOLUTION, Contrast, Values
from synthbench.analysis.contrasted import Series
from synthbench.analysis.order import concordance
from synthbench.analysis.pairing import is_ranked, values_of
from synthbench.scores import SCORES

LEAST_SPAN = 0.5  # of a stratum's values along the axis, that those of a seed must span for its slope to count
RESAMPLES = 2000
CHANCE = 0.5  # share of inversions where the order before says nothing of that after


def slope(positions: Sequence[float], values: Sequence[float]) -> float:
    """Of the least-squares line through some points."""
    middle, mean = fmean(positions), fmean(values)
    products = (x - middle for x in positions)
    return sum(dx * (y - mean) for dx, y in zip(products, values, strict=True)) / sum(
        (x - middle) ** 2 for x in positions
    )


def _by_seed(by_value: Mapping[float, Values]) -> dict[int, dict[float, float]]:
    """By seed the values that it has, by value of the axis."""
    seeds = sorted({seed for values in by_value.values() for seed in values})
    return {seed: {at: values[seed] for at, values in by_value.items() if seed in values} for seed in seeds}


def _read(series: Series, name: str, target_step: int | None) -> dict[int, dict[float, float]]:
    """A score by seed and position on the axis' scale."""
    return _by_seed({series.position(at): values_of(row, name, target_step) for at, row in series.rows.items()})


def trend(parts: Sequence[Series], name: str, target_step: int | None = None) -> Contrast:
    """The change of a score over the span of the axis: by seed the slope of the least-squares line times the span. Values
    that may be bounds have no slope: by seed Kendall's tau of the score and the axis."""
    if is_ranked(name):
        return Contrast([_orders(part, name, target_step) for part in parts], is_flipped=True)
    resolution = RESOLUTION if SCORES[name].unit == "share" else 0.0
    return Contrast([_changes(part, name, target_step) for part in parts], None, resolution)


def _changes(series: Series, name: str, target_step: int | None) -> Values:
    """By seed; without those whose values lie too close together on the axis, for their slopes would be mostly noise."""
    positions = [series.position(at) for at in series.rows]
    least = LEAST_SPAN * (max(positions) - min(positions))
    return {
        seed: slope([*values], [*values.values()]) * series.span
        for seed, values in _read(series, name, target_step).items()
        if len(values) > 1 and max(values) - min(values) >= least
    }


def _orders(series: Series, name: str, target_step: int | None) -> Values:
    found = {
        seed: concordance([*values], [*values.values()]) for seed, values in _read(series, name, target_step).items()
    }
    return {seed: tau for seed, tau in found.items() if tau is not None}


class Turn(NamedTuple):
    """Where along an axis the mean of a score is best (highest, where neither is better). low, high: the values between
    which it is best in 95 % of resamples of the seeds. is_inside: whether worse means lie on both sides."""

    best: float
    low: float
    high: float
    is_inside: bool


def turn(parts: Sequence[Series], name: str) -> Turn | None:
    """Of the mean over strata, at the values of the axis that all of them have. None for fewer than three such values, for
    a score whose values may be bounds, and where all means are one."""
    import numpy as np

    common = sorted(set.intersection(*({*part.rows} for part in parts))) if parts else []
    if len(common) < 3 or is_ranked(name):
        return None
    seeds = sorted({seed for part in parts for at in common for seed in values_of(part.rows[at], name)})
    drawn = np.random.default_rng(0).multinomial(len(seeds), [1 / len(seeds)] * len(seeds), RESAMPLES)
    weights = np.vstack([np.ones(len(seeds)), drawn])  # the first row: the seeds as they are
    sums = np.zeros((len(weights), len(common)))
    for part in parts:
        read = [values_of(part.rows[at], name) for at in common]
        known = np.array([[float(seed in values) for values in read] for seed in seeds])
        values_SA = np.array([[values.get(seed, 0.0) for values in read] for seed in seeds])
        with np.errstate(invalid="ignore"):  # resamples in which no seed has a value
            sums += (weights @ values_SA) / (weights @ known)
    sign = -1 if SCORES[name].better == "down" else 1
    measured = sums[~np.isnan(sums).any(axis=1)] * sign
    if np.ptp(measured[0]) == 0:
        return None
    best, *resampled = (int(index) for index in measured.argmax(axis=1))
    ends = np.quantile(resampled, [0.025, 0.975], method="closest_observation")
    low, high = (common[int(index)] for index in ends)
    return Turn(common[best], low, high, 0 < best < len(common) - 1)


def inversions(
    parts: Sequence[Series], before: str, name: str, target_step: int | None = None
) -> Contrast:  # fmt: skip
    """By seed, of the pairs of values of the axis at which bases differ `before` and in the score: the share that is worse
    before and better after, less CHANCE."""
    return Contrast([_inverted(part, before, name, target_step) for part in parts], is_flipped=True)


def _inverted(series: Series, before: str, name: str, target_step: int | None) -> Values:
    after = _read(series, name, target_step)
    bases = _by_seed({series.position(at): row.start.get(before, {}) for at, row in series.rows.items()})
    is_opposite = SCORES[before].better != SCORES[name].better
    shares = {}
    for seed, values in after.items():
        at = [position for position in values if position in bases.get(seed, {})]
        agreement = concordance([bases[seed][position] for position in at], [values[position] for position in at])
        if agreement is not None:
            shares[seed] = CHANCE * (agreement if is_opposite else -agreement)
    return shares
