"""What two sets of values by seed decide: changed, unchanged, or inconclusive.

A bound is fixed from the baseline alone: BOUND_TIMES its noise floor, which falls with the seeds that are compared, but
never below LEAST. The difference is that of 20 % trimmed means of paired differences with Yuen's interval (Biometrika 61,
1974), for rare bad seeds leave a t test undecided (tests/analysis/test_change_test.py counts that, and draws eight shapes).
Changed: the 95 % interval lies wholly beyond the bound; unchanged: wholly inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, floor, inf, nan, pi, sqrt
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from synthbench.analysis.statistics import quantile

TRIMMED = 0.2  # of the differences, at each end
# A mean may move by so many noise floors. A check has thirty lines, and all must be decided: the least multiple of a half
# that left 95 in 100 comparisons of independent seeds of AdamW unchanged (counted on reports/gate.md).
BOUND_TIMES = 6
# By unit, the least bound, for a score that no seed moves; and of all but shares this part of the mean.
LEAST = {"share": 0.02, "nats/token": 0.01, "nats/answer": 0.01, "ratio": 1e-3, "norm": 1e-3,
         "rank": 1e-2}  # fmt: skip
LEAST_SHARE = 0.01
# More seeds that moved one way by so many deviations than that moved the other way, a share of all and at least some:
# trimming would cut them, so nothing is unchanged.
TORN, TORN_LEAST, TORN_BY = 3 / 16, 3, 6
LEAST_CUT = 8  # values of which some are cut
POWERED = 1 + 0.84 / 1.96  # half an interval, and how far chance takes a mean in one case of five: 80 % power
FEWEST = 5  # paired seeds that decide anything

Verdict = Literal["unchanged", "changed", "inconclusive"]


class Decision(NamedTuple):
    """before, after: trimmed means over the n seeds that both have. difference: of the paired ones, with its 95 % interval
    (low, high). bound: what it may be. seeds: where inconclusive, estimated for 80 % power."""

    verdict: Verdict
    before: float
    after: float
    difference: float
    low: float
    high: float
    bound: float
    n: int
    seeds: float = nan


def noise(values: Sequence[float]) -> float:
    """The floor: the root mean square difference of the means of two halves of these values, over all ways of halving."""
    return 2 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def bound(values: Sequence[float], floor: float, unit: str, n: int) -> float:
    """How far a mean over n seeds may move. values, floor: of the baseline's seeds."""
    return max(BOUND_TIMES * floor * sqrt(len(values) / n), least(values, unit))


def least(values: Sequence[float], unit: str) -> float:
    """What a mean may move whatever the noise."""
    return max(LEAST.get(unit, 0.0), LEAST_SHARE * abs(fmean(values)) if values and unit != "share" else 0.0)


def decide(before: Mapping[int, float], after: Mapping[int, float], floor: float, unit: str) -> Decision:
    """The verdict on a score by seed. floor: the noise of the values before."""
    seeds = sorted(before.keys() & after.keys())
    if len(seeds) < FEWEST:
        would = FEWEST if before and after else nan  # no seeds give a score to a side that has none
        return Decision("inconclusive", nan, nan, nan, nan, nan, nan, len(seeds), would)
    values, differences = [*before.values()], [after[seed] - before[seed] for seed in seeds]
    allowed, (middle, half) = bound(values, floor, unit, len(seeds)), trimmed(differences)
    found = (
        trimmed([before[seed] for seed in seeds])[0], trimmed([after[seed] for seed in seeds])[0], middle, middle - half,
        middle + half, allowed, len(seeds),
    )  # fmt: skip
    if middle - half > allowed or middle + half < -allowed:
        return Decision("changed", *found)
    torn = max(TORN_BY * floor * sqrt(len(values)) / 2, 2 * least(values, unit))
    far = [sum(sign * difference > torn for difference in differences) for sign in (1, -1)]
    if is_torn(abs(far[0] - far[1]), len(seeds)):
        return Decision("inconclusive", *found)
    if -allowed <= middle - half and middle + half <= allowed:
        return Decision("unchanged", *found)
    return Decision("inconclusive", *found, seeds_needed(abs(middle), half, allowed, least(values, unit)) * len(seeds))


def is_torn(count: int, n: int) -> bool:
    """Whether so many of n seeds are too many to be passed over."""
    return count >= max(TORN_LEAST, TORN * n)


def trimmed(values: Sequence[float]) -> tuple[float, float]:
    """The trimmed mean, and half its 95 % interval: Student's t with the Winsorized deviation."""
    n, ordered = len(values), sorted(values)
    cut = cut_of(n)
    kept = ordered[cut : n - cut]
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    half = quantile(0.975, len(kept) - 1) * stdev(winsorized) * sqrt(n) / len(kept)
    return fmean(kept), half


def cut_of(n: int) -> int:
    """How many of n values are cut at each end: of few, none, for too little would be left."""
    return floor(TRIMMED * n) if n >= LEAST_CUT else 0


def seeds_needed(size: float, half: float, allowed: float, floor: float) -> float:
    """About how many times the seeds are needed for 80 % power, if a difference of this size is real: half its
    interval with what chance takes away, and the bound as far as its floor, fall with the root of the seeds."""
    room, reach = abs(size - floor), half * POWERED
    if room == 0:
        return inf
    return (reach / room) ** 2 if size < floor else max((reach / room) ** 2, ((reach + allowed) / size) ** 2)


def winsorized(share: float) -> float:
    """The deviation of a normal distribution of which this share at each end counts as what is next, over that of the
    whole."""
    from scipy.special import ndtri

    if not share:
        return 1.0
    q = float(ndtri(1 - share))
    density = exp(-q * q / 2) / sqrt(2 * pi)
    return sqrt(2 * share * q * q + (1 - 2 * share) - 2 * q * density)


def detectable(deviation: float, n: int, allowed: float) -> float:
    """The least change of a mean that n seeds find with about 80 % probability, where seeds have this deviation and the
    two sides are independent: the bound, half the interval, and what chance takes away."""
    kept = n - 2 * cut_of(n)
    error = winsorized((n - kept) / 2 / n) * deviation * sqrt(2) * sqrt(n) / kept
    return allowed + (quantile(0.975, kept - 1) + quantile(0.8, kept - 1)) * error
