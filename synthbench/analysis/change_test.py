"""What two sets of values by seed decide: changed, unchanged, or inconclusive.

The bound is fixed by the baseline alone: BOUND_TIMES its noise floor, which falls with the seeds that are compared. The
difference is the 20 % trimmed mean of paired differences with Yuen's interval (Biometrika 61, 1974), because rare bad seeds
leave a t test inconclusive. Changed: the 95 % interval lies wholly beyond the bound; unchanged: wholly inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, inf, nan, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Literal, NamedTuple

from synthbench.analysis.statistics import quantile

TRIMMED = 0.2  # of the differences, at each end
# Noise floors by which a mean may move. A check has thirty lines, and all must be decided: the least multiple of a half
# that left 95 in 100 comparisons of independent seeds of AdamW unchanged (reports/gate.md).
BOUND_TIMES = 6
# By unit, the least bound, for a score that no seed moves; and for all units but shares this part of the mean.
LEAST = {"share": 0.02, "nats/token": 0.01, "nats/answer": 0.01, "ratio": 1e-3, "norm": 1e-3, "rank": 1e-2}
LEAST_SHARE = 0.01
# Trimming would cut seeds that moved far. Where this share of all seeds (and at least so many) moved one way by so many
# deviations, less those that moved the other way, nothing is unchanged.
TORN, TORN_LEAST, TORN_BY = 3 / 16, 3, 6
LEAST_CUT = 8  # values, from which on some are cut
POWERED = 1 + 0.84 / 1.96  # half an interval, and how far chance moves a mean in one case of five: 80 % power
FEWEST = 5  # paired seeds that decide anything

Verdict = Literal["unchanged", "changed", "inconclusive"]


class Decision(NamedTuple):
    """before, after: trimmed means over the n seeds that both have. difference: of the paired values, with its 95 %
    interval (low, high). allowed: the bound. seeds: where inconclusive, estimated for 80 % power."""

    verdict: Verdict
    n: int
    before: float = nan
    after: float = nan
    difference: float = nan
    low: float = nan
    high: float = nan
    allowed: float = nan
    seeds: float = nan


def noise(values: Sequence[float]) -> float:
    """The floor: the root mean square difference of the means of two halves of these values, over all ways of halving."""
    return 2 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def bound(values: Sequence[float], floor: float, unit: str, n: int) -> float:
    """How far a mean over n seeds may move. values, floor: of the baseline's seeds."""
    return max(BOUND_TIMES * floor * sqrt(len(values) / n), least(values, unit))


def least(values: Sequence[float], unit: str) -> float:
    """How far a mean may move whatever the noise."""
    return max(LEAST.get(unit, 0.0), LEAST_SHARE * abs(fmean(values)) if values and unit != "share" else 0.0)


def decide(before: Mapping[int, float], after: Mapping[int, float], floor: float, unit: str) -> Decision:
    """The verdict on a score by seed. floor: the noise of the values before."""
    seeds = sorted(before.keys() & after.keys())
    n = len(seeds)
    if n < FEWEST:  # no number of seeds gives values to a side that has none
        return Decision("inconclusive", n, seeds=FEWEST if before and after else nan)
    values, differences = [*before.values()], [after[seed] - before[seed] for seed in seeds]
    allowed, (mean, half) = bound(values, floor, unit, n), trimmed(differences)
    old, new = (trimmed([side[seed] for seed in seeds])[0] for side in (before, after))
    decision = Decision("inconclusive", n, old, new, mean, mean - half, mean + half, allowed)
    if decision.low > allowed or decision.high < -allowed:
        return decision._replace(verdict="changed")
    far = max(TORN_BY * floor * sqrt(len(values)) / 2, 2 * least(values, unit))
    up, down = (sum(sign * difference > far for difference in differences) for sign in (1, -1))
    if is_torn(abs(up - down), n):
        return decision
    if -allowed <= decision.low and decision.high <= allowed:
        return decision._replace(verdict="unchanged")
    return decision._replace(seeds=n * times_the_seeds(abs(mean), half, allowed, least(values, unit)))


def is_torn(count: int, n: int) -> bool:
    """Whether so many of n seeds are too many to be cut."""
    return count >= max(TORN_LEAST, TORN * n)


def trimmed(values: Sequence[float]) -> tuple[float, float]:
    """The trimmed mean, and half its 95 % interval: Student's t with the Winsorized deviation."""
    n, cut = len(values), cut_of(len(values))
    kept = sorted(values)[cut : n - cut]
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    return fmean(kept), quantile(0.975, len(kept) - 1) * stdev(winsorized) * sqrt(n) / len(kept)


def cut_of(n: int) -> int:
    """How many of n values are cut at each end: none of few, which would leave too little."""
    return floor(TRIMMED * n) if n >= LEAST_CUT else 0


def times_the_seeds(size: float, half: float, allowed: float, floor: float) -> float:
    """About how many times the seeds give 80 % power, if a difference of this size is real: half its interval, and the
    bound down to its floor, fall with the square root of the seeds."""
    room, reach = abs(size - floor), half * POWERED
    if room == 0:
        return inf
    return (reach / room) ** 2 if size < floor else max((reach / room) ** 2, ((reach + allowed) / size) ** 2)


def detectable(deviation: float, n: int, allowed: float) -> float:
    """The least change of a mean that n independent seeds of this deviation on each side detect with about 80 % power."""
    kept = n - 2 * cut_of(n)
    error = winsorized(cut_of(n) / n) * deviation * sqrt(2) * sqrt(n) / kept
    return allowed + (quantile(0.975, kept - 1) + quantile(0.8, kept - 1)) * error


def winsorized(share: float) -> float:
    """The deviation of a standard normal distribution of which this share is Winsorized at each end."""
    if not share:
        return 1.0
    q = NormalDist().inv_cdf(1 - share)
    return sqrt(2 * share * q * q + (1 - 2 * share) - 2 * q * NormalDist().pdf(q))
