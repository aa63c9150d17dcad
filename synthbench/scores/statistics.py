"""Intervals for few seeds: Student's t, on single values and on paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

MOST_SEEDS = 1000  # beyond this, asking for seeds is no advice


class Interval(NamedTuple):
    """mean with its 95 % interval; n values. Bounds are NaN for fewer than two values."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean and Student's t interval of the values that were measured (NaN is left out, and n says so)."""
    from scipy.special import stdtrit

    measured = [value for value in values if value == value]
    n = len(measured)
    if n == 0:
        return Interval(nan, nan, nan, 0)
    mean = fmean(measured)
    if n == 1:
        return Interval(mean, nan, nan, 1)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(measured) / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def seeds_needed(differences: Sequence[float], power: float = 0.8, level: float = 0.95) -> float:
    """Seeds with which a paired t test would tell a difference as large as the mean of these, with this power.

    The deviation is taken from the same differences, so the answer is as rough as they are few. inf beyond MOST_SEEDS.
    """
    from scipy.special import nctdtr, stdtrit

    deviation, mean = stdev(differences), abs(fmean(differences))
    if mean == 0:
        return inf
    for n in range(2, MOST_SEEDS + 1):
        bound = float(stdtrit(n - 1, (1 + level) / 2))
        shift = mean * sqrt(n) / deviation if deviation else inf
        if shift == inf or 1 - float(nctdtr(n - 1, shift, bound)) >= power:
            return n
    return inf
