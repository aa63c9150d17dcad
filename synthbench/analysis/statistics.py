"""Intervals, tests and power for few seeds: Student's t on single values and on differences paired by seed, Welch's t on
two independent samples.

Where nothing varies, a t test has no deviation: identical rows give p = 1, a constant difference gives p = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, nan, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

MOST_SEEDS = 1000  # beyond this, asking for seeds is no advice


class Contrast(NamedTuple):
    """What a mean difference is estimated from: differences paired by seed, or two samples, values - others."""

    values: Sequence[float]
    others: Sequence[float] | None = None

    @property
    def is_paired(self) -> bool:
        return self.others is None

    @property
    def samples(self) -> list[Sequence[float]]:
        return [self.values] if self.others is None else [self.values, self.others]

    @property
    def n(self) -> int:
        """Seeds: of two samples those of the smaller one."""
        return min(map(len, self.samples))

    @property
    def mean(self) -> float:
        """The mean difference; NaN without values on both sides."""
        return fmean(self.values) - (fmean(self.others) if self.others else 0.0) if self.n else nan

    @property
    def is_nothing(self) -> bool:
        """Whether no value differs from another row's."""
        return len({*self.values, *([0.0] if self.others is None else self.others)}) <= 1


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
    return difference(Contrast([value for value in values if value == value]), level)


def difference(contrast: Contrast, level: float = 0.95) -> Interval:
    """The mean difference with its t interval: of two samples Welch's, with n of the smaller one."""
    n, mean = contrast.n, contrast.mean
    if n < 2:
        return Interval(mean, nan, nan, n)
    error, freedom = standard_error(contrast)
    half = quantile((1 + level) / 2, freedom) * error
    return Interval(mean, mean - half, mean + half, n)


def standard_error(contrast: Contrast) -> tuple[float, float]:
    """The standard error of a mean difference, and its degrees of freedom; of at least two seeds."""
    return welch([stdev(sample) for sample in contrast.samples], [len(sample) for sample in contrast.samples])


def welch(deviations: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """The standard error of a difference of means and its degrees of freedom, estimated from samples of these deviations
    and numbers of values (Welch, Biometrika 34, 1947); of one sample deviation / sqrt(n), and n - 1."""
    errors = [deviation / sqrt(n) for deviation, n in zip(deviations, counts, strict=True)]
    error, least = hypot(*errors), min(counts) - 1
    if not error:
        return 0.0, sum(counts) - len(counts)
    terms = [(part / error) ** 4 * least / (n - 1) for part, n in zip(errors, counts, strict=True)]
    return error, least / sum(terms)  # in units of the least, so that one sample has exactly n - 1


def seeds_needed(contrast: Contrast, power: float = 0.8) -> float:
    """Estimated number of seeds (of each row) with which a t test at 5 % finds a mean difference as large as this one, with
    its deviation: as rough as the seeds are few. inf beyond MOST_SEEDS."""
    return _seeds([abs(contrast.mean)], contrast, 0.975, power)


def seeds_for_equivalence(contrast: Contrast, margin: float, power: float = 0.8) -> float:
    """Estimated number of seeds (of each row) with which two one-sided t tests at 5 % show that a mean difference such as
    this one lies within +-margin; as rough as the seeds are few. inf beyond MOST_SEEDS, and where it lies beyond."""
    mean = abs(contrast.mean)
    return _seeds([margin - mean, margin + mean], contrast, 0.95, power)


def _seeds(distances: Sequence[float], contrast: Contrast, level: float, power: float) -> float:
    """The least number of seeds, from 2, with which one-sided t tests over all these distances pass together with this
    power, by the noncentral t. inf beyond MOST_SEEDS, and where a distance is not positive."""
    from scipy.special import nctdtr

    if min(distances) <= 0:
        return inf
    deviations = [stdev(sample) for sample in contrast.samples]
    if not any(deviations):
        return 2
    for n in range(2, MOST_SEEDS + 1):
        error, freedom = welch(deviations, [n] * len(deviations))
        missed = nctdtr(freedom, [distance / error for distance in distances], quantile(level, freedom))
        if 1 - missed.sum() >= power:
            return n
    return inf


def quantile(share: float, freedom: float) -> float:
    """A quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def detectable(error: float, freedom: float, power: float = 0.8) -> float:
    """The least mean difference that a two-sided t test at 5 % finds with this power, where its estimate has this standard
    error with these degrees of freedom (the wrong tail is not counted); inf for no degree of freedom."""
    from scipy.special import nctdtrinc

    return error * float(nctdtrinc(freedom, 1 - power, quantile(0.975, freedom))) if freedom > 0 else inf


def difference_p(contrast: Contrast) -> float:
    """p-value of the two-sided t test, paired or Welch's, that a mean difference is 0; 1 for fewer than two seeds."""
    return 2 * _tail(abs(contrast.mean), contrast) if contrast.n > 1 and not contrast.is_nothing else 1.0


def equivalence_p(contrast: Contrast, margin: float) -> float:
    """p-value of the two one-sided t tests (TOST) that a mean difference lies beyond +-margin: at most .05 where the 90 %
    interval lies inside. 1 for fewer than two seeds."""
    return _tail(margin - abs(contrast.mean), contrast) if contrast.n > 1 else 1.0


def _tail(distance: float, contrast: Contrast) -> float:
    """Probability that an estimate of this standard error strays at least so far to one side."""
    from scipy.special import stdtr

    error, freedom = standard_error(contrast)
    if error == 0:
        return 0.0 if distance >= 0 else 1.0
    return float(stdtr(freedom, -distance / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being so many (Holm 1979, step-down), in their order: those of at most .05 stand at 5 %."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
