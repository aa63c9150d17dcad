"""Intervals, tests and power for few seeds: Student's t on single values and on differences paired by seed, Welch's t on
two independent samples; over several strata with seeds as clusters. Bounds are compared by rank (`rank_test.py`), coarse
values by flipped signs (`sign_flip.py`).

Where nothing varies, identical rows give p = 1. Differences that are all equal do not give p = 0: a share is of at most
1,024 items, so values that agree are only known to agree within an item, and the standard error of a mean difference is
taken to be at least that of one item, (1/1024) / sqrt(n). Scores with another unit have no such floor.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import hypot, inf, nan, sqrt
from statistics import fmean
from typing import NamedTuple

from synthbench.analysis.contrast import Contrast, Values, one_task
from synthbench.analysis.rank_test import median_difference, rank_p
from synthbench.analysis.sign_flip import flipped

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
    return difference(one_task([value for value in values if value == value]), level)


def difference(contrast: Contrast, level: float = 0.95) -> Interval:
    """The mean difference with its t interval: of two samples Welch's, with n of the smaller one; or that of
    flipped signs. Of ranks the median difference, without one."""
    n, mean = contrast.n, median_difference(contrast) if contrast.is_ranked else contrast.mean
    if contrast.fewest < 2 or contrast.is_ranked:
        return Interval(mean, nan, nan, n)
    if contrast.is_flipped:
        test = flipped(contrast, level)
        return Interval(mean, test.low, test.high, n)
    error, degrees = standard_error(contrast)
    half = quantile((1 + level) / 2, degrees) * error
    return Interval(mean, mean - half, mean + half, n)


def standard_error(contrast: Contrast) -> tuple[float, float]:
    """The standard error of a mean difference, and its degrees of freedom; of at least two seeds in each stratum."""
    counts = [len({seed for stratum in sample for seed in stratum}) for sample in contrast.samples]
    freedoms = [freedom(sample) for sample in contrast.samples]
    return _error([deviation(sample) for sample in contrast.samples], counts, contrast.resolution, freedoms)


def deviation(sample: Sequence[Values]) -> float:
    """The deviation between seeds of what they contribute to the mean over strata of each one's mean, by stratum and seed.

    Runs of one seed share data, so seeds are clusters. With T strata, of which stratum t has n_t values x_ts of mean m_t,
    the influence of a seed is u_s = sum over its strata of sqrt(n_t / (n_t - 1)) (x_ts - m_t) / (T n_t), and the squared
    error of the mean is the sum of u_s^2 over all n seeds. This is the root of n times that: the standard deviation of
    values where there is one stratum, and that of means over strata where all have the same seeds.
    """
    if len(sample) == 1:  # as most are; `statistics.stdev` takes ten times as long
        values = sample[0].values()
        mean = fmean(values)
        return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    influence: dict[int, float] = {}
    for stratum in sample:
        mean, n = fmean(stratum.values()), len(stratum)
        for seed, value in stratum.items():
            influence[seed] = influence.get(seed, 0.0) + sqrt(n / (n - 1)) * (value - mean) / (len(sample) * n)
    return sqrt(len(influence) * sum(u * u for u in influence.values()))


def freedom(sample: Sequence[Values]) -> float:
    """The degrees of freedom of that deviation: n - 1 where all strata have the same n seeds. Else seeds have different
    weights in the mean, w_s = sum over its strata of 1 / (T n_t), and n is (sum w_s^2)^2 / sum w_s^4 (after Satterthwaite,
    Biometrics Bulletin 2, 1946): seeds that some strata lack count for less."""
    if len({frozenset(stratum) for stratum in sample}) == 1:
        return len(sample[0]) - 1
    weights: dict[int, float] = {}
    for stratum in sample:
        for seed in stratum:
            weights[seed] = weights.get(seed, 0.0) + 1 / (len(sample) * len(stratum))
    squares = [weight**2 for weight in weights.values()]
    return sum(squares) ** 2 / sum(square**2 for square in squares) - 1


def _error(
    deviations: Sequence[float], counts: Sequence[int], resolution: float, freedoms: Sequence[float] = ()
) -> tuple[float, float]:
    """Welch's standard error and degrees of freedom; the error at least that of the resolution."""
    error, degrees = welch(deviations, counts, freedoms)
    return max(error, resolution / sqrt(min(counts))), degrees


def welch(
    deviations: Sequence[float], counts: Sequence[int], freedoms: Sequence[float] = ()
) -> tuple[float, float]:  # fmt: skip
    """The standard error of a difference of means and its degrees of freedom, estimated from samples of these deviations
    and numbers of values (Welch, Biometrika 34, 1947); of one sample deviation / sqrt(n), and n - 1. freedoms: of the
    deviations, if not one less than the numbers of values."""
    freedoms = freedoms or [n - 1 for n in counts]
    errors = [deviation / sqrt(n) for deviation, n in zip(deviations, counts, strict=True)]
    error, least = hypot(*errors), min(freedoms)
    if not error:
        return 0.0, sum(freedoms)
    terms = [(part / error) ** 4 * least / freedom for part, freedom in zip(errors, freedoms, strict=True)]
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
    from numpy import nansum
    from scipy.special import nctdtr

    if min(distances) <= 0:
        return inf
    deviations = [deviation(sample) for sample in contrast.samples]
    if not any((*deviations, contrast.resolution)):
        return 2

    def suffice(n: int) -> bool:
        error, degrees = _error(deviations, [n] * len(deviations), contrast.resolution)
        missed = nctdtr(degrees, [distance / error for distance in distances], quantile(level, degrees))
        return bool(1 - nansum(missed) >= power)  # scipy has no value (NaN) where next to nothing is missed

    numbers = range(2, MOST_SEEDS + 1)
    place = bisect_left(numbers, True, key=suffice)  # more seeds, more power
    return numbers[place] if place < len(numbers) else inf


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
    """p-value of the two-sided t test, paired or Welch's, that a mean difference is 0, or of the test by ranks or flipped
    signs; 1 for fewer than two seeds."""
    if contrast.fewest < 2 or contrast.is_nothing:
        return 1.0
    if contrast.is_flipped:
        return flipped(contrast).p
    return rank_p(contrast) if contrast.is_ranked else 2 * _tail(abs(contrast.mean), contrast)


def equivalence_p(contrast: Contrast, margin: float) -> float:
    """p-value of the two one-sided t tests (TOST) that a mean difference lies beyond +-margin: at most .05 where the 90 %
    interval lies inside. 1 for fewer than two seeds."""
    return _tail(margin - abs(contrast.mean), contrast) if contrast.fewest > 1 else 1.0


def no_less_p(contrast: Contrast, bound: float) -> float:
    """p-value of the one-sided t test that a mean difference is below a bound; 1 for fewer than two seeds."""
    return _tail(contrast.mean - bound, contrast) if contrast.fewest > 1 else 1.0


def no_more_p(contrast: Contrast, bound: float) -> float:
    """p-value of the one-sided t test that a mean difference is above a bound; 1 for fewer than two seeds."""
    return _tail(bound - contrast.mean, contrast) if contrast.fewest > 1 else 1.0


def _tail(distance: float, contrast: Contrast) -> float:
    """Probability that an estimate of this standard error strays at least so far to one side."""
    from scipy.special import stdtr

    error, degrees = standard_error(contrast)
    if error == 0:
        return 0.0 if distance >= 0 else 1.0
    return float(stdtr(degrees, -distance / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being so many (Holm 1979, step-down), in their order: those of at most .05 stand at 5 %."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
