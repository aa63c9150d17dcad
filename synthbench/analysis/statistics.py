"""Intervals, tests and power for few seeds: Student's t, on single values and on paired differences.

Where differences do not vary, a t test has no deviation: identical rows give p = 1, a constant difference gives p = 0.
"""

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
    """Mean and Student's t interval of the values that were measured: NaN is left out, and not counted in n."""
    measured = [value for value in values if value == value]
    n = len(measured)
    mean = fmean(measured) if n else nan
    half = quantile((1 + level) / 2, n - 1) * stdev(measured) / sqrt(n) if n > 1 else nan
    return Interval(mean, mean - half, mean + half, n)


def seeds_needed(differences: Sequence[float], power: float = 0.8) -> float:
    """Estimated number of seeds with which a paired t test at 5 % finds a mean difference as large as that of these, with
    their deviation: as rough as they are few. inf beyond MOST_SEEDS."""
    return _seeds([abs(fmean(differences))], stdev(differences), 0.975, power)


def seeds_for_equivalence(differences: Sequence[float], margin: float, power: float = 0.8) -> float:
    """Estimated number of seeds with which two one-sided t tests at 5 % show that a mean such as that of these differences
    lies within +-margin; as rough as they are few. inf beyond MOST_SEEDS, and where it lies beyond."""
    mean = abs(fmean(differences))
    return _seeds([margin - mean, margin + mean], stdev(differences), 0.95, power)


def _seeds(distances: Sequence[float], deviation: float, level: float, power: float) -> float:
    """The least number of values, from 2, with which one-sided t tests over all these distances pass together with this
    power, by the noncentral t. inf beyond MOST_SEEDS, and where a distance is not positive."""
    from scipy.special import nctdtr

    if min(distances) <= 0:
        return inf
    if not deviation:
        return 2
    for n in range(2, MOST_SEEDS + 1):
        missed = nctdtr(n - 1, [distance * sqrt(n) / deviation for distance in distances], quantile(level, n - 1))
        if 1 - missed.sum() >= power:
            return n
    return inf


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
    """p-value of the two one-sided t tests (TOST) that the mean of these differences lies beyond +-margin: at most .05
    where the 90 % interval lies inside. 1 for fewer than two differences."""
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
