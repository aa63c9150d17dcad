"""Intervals and tests for few seeds: Student's t, on single values and on paired differences.

Differences that do not vary at all are no evidence of a deviation of 0, yet a t test has no other answer: identical rows
differ in nothing (p = 1), a constant difference is certain (p = 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Mean and Student's t interval of the values that were measured: NaN is left out, and not counted in n."""
    measured = [value for value in values if value == value]
    n = len(measured)
    if n == 0:
        return Interval(nan, nan, nan, 0)
    mean = fmean(measured)
    if n == 1:
        return Interval(mean, nan, nan, 1)
    half = quantile((1 + level) / 2, n - 1) * stdev(measured) / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def seeds_needed(differences: Sequence[float], power: float = 0.8) -> float:
    """Estimated number of seeds with which a paired t test at 5 % finds a mean difference as large as that of these.

    The deviation is that of the same differences, so the estimate is as rough as they are few. inf beyond MOST_SEEDS.
    """
    from scipy.special import nctdtr

    deviation, mean = stdev(differences), abs(fmean(differences))
    if not deviation:
        return 2 if mean else inf
    return _fewest(lambda n: 1 - float(nctdtr(n - 1, mean * sqrt(n) / deviation, quantile(0.975, n - 1))), power)


def seeds_for_equivalence(differences: Sequence[float], margin: float, power: float = 0.8) -> float:
    """Estimated number of seeds with which two one-sided t tests at 5 % show that a mean such as that of these differences
    lies within +-margin; as rough as they are few. inf beyond MOST_SEEDS, and where it lies beyond."""
    from scipy.special import nctdtr

    deviation, mean = stdev(differences), abs(fmean(differences))
    if mean >= margin:
        return inf
    if not deviation:
        return 2
    distances = (margin - mean, margin + mean)

    def power_of(n: int) -> float:
        bound, scale = quantile(0.95, n - 1), sqrt(n) / deviation
        return 1 - sum(float(nctdtr(n - 1, distance * scale, bound)) for distance in distances)

    return _fewest(power_of, power)


def _fewest(power_of: Callable[[int], float], power: float) -> float:
    """The least number of seeds, from 2, with this power; inf beyond MOST_SEEDS."""
    return next((n for n in range(2, MOST_SEEDS + 1) if power_of(n) >= power), inf)


def quantile(share: float, freedom: float) -> float:
    """A quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def detectable(deviation: float, n: int, power: float = 0.8) -> float:
    """The least mean difference that a two-sided paired t test at 5 % over n seeds finds with this power, where paired
    differences have this deviation (the wrong tail is not counted); inf for fewer than two seeds."""
    from scipy.special import nctdtrinc

    return deviation * float(nctdtrinc(n - 1, 1 - power, quantile(0.975, n - 1))) / sqrt(n) if n > 1 else inf


def paired_p(differences: Sequence[float]) -> float:
    """p-value of the two-sided paired t test that the mean of these differences is 0; 1 for fewer than two."""
    n = len(differences)
    return 2 * _tail(abs(fmean(differences)), differences) if n > 1 and any(differences) else 1.0


def equivalence_p(differences: Sequence[float], margin: float) -> float:
    """p-value of the two one-sided t tests (TOST) that the mean of these differences lies beyond +-margin.

    It is at most .05 where the 90 % interval lies inside +-margin; 1 for fewer than two differences.
    """
    return _tail(margin - abs(fmean(differences)), differences) if len(differences) > 1 else 1.0


def _tail(distance: float, values: Sequence[float]) -> float:
    """Probability that the mean of as many values, with the deviation of these, strays at least so far to one side."""
    from scipy.special import stdtr

    error = stdev(values) / sqrt(len(values))
    if error == 0:
        return 0.0 if distance >= 0 else 1.0
    return float(stdtr(len(values) - 1, -distance / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being so many (Holm 1979, step-down), in their order: those of at most .05 stand at 5 %."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
