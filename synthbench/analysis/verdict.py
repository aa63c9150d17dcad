"""What paired differences of a score decide."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf, nan
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from synthbench.analysis import statistics as stats
from synthbench.analysis.pairing import Pair, at_step, differences
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES

LEAST_SEEDS = 3  # paired seeds: of two, a difference may well be the same by chance
LEVEL = 0.05
Kind = Literal["higher", "lower", "equal", "identical", "inconclusive", "depends on target step", "too few seeds"]
DECIDED: tuple[Kind, ...] = ("higher", "lower")


class Verdict(NamedTuple):
    """What a score's paired differences decide.

    difference: their mean with its 95 % interval. p: of the paired t test. margin: the largest difference that counts as
    none, None where the card has none for the score's unit. detectable: the difference that as many seeds detect with 80 %
    power. seeds: where inconclusive, the estimated number for 80 % power, to find this difference or one below the margin.
    """

    kind: Kind
    difference: Interval
    p: float
    margin: float | None
    detectable: float
    seeds: float = nan


def verdict(paired: Sequence[float], margin: float | None, signs: Collection[bool] = ()) -> Verdict:
    """The verdict on paired differences. signs: of their mean at every target step that is read, True above 0.

    A direction where the 95 % interval excludes 0 (it depends on the target step where the signs differ), `equal` where an
    equivalence test at 5 % (the 90 % interval) keeps the mean within the margin, `identical` where every seed differs by
    0, else inconclusive.
    """
    difference, p = stats.interval(paired), stats.paired_p(paired)
    if difference.n < LEAST_SEEDS:
        return Verdict("too few seeds", difference, p, margin, inf)
    numbers = (difference, p, margin, stats.detectable(stdev(paired), difference.n))
    if not any(paired):
        return Verdict("identical", *numbers)
    if difference.excludes_zero:
        kind: Kind = "higher" if difference.mean > 0 else "lower"
        return Verdict("depends on target step" if len(set(signs)) > 1 else kind, *numbers)
    if margin is not None and stats.equivalence_p(paired, margin) <= LEVEL:
        return Verdict("equal", *numbers)
    seeds = stats.seeds_needed(paired)
    if margin is not None:
        seeds = min(seeds, stats.seeds_for_equivalence(paired, margin))
    return Verdict("inconclusive", *numbers, max(seeds, difference.n + 1))


def of(pair: Pair, name: str, card: RunnerCard) -> Verdict:
    """The verdict on a score of two rows; readings `x@fit` at the card's target step, their signs at all of its steps."""
    paired = differences(pair.row.exact(name), pair.other.exact(name))
    at_steps = [at_step(pair, name, target_step) for target_step in pair.row.target_steps.get(name, {})]
    return verdict(paired, card.margins.get(SCORES[name].unit), {sum(read) > 0 for read in at_steps if any(read)})


class Finding(NamedTuple):
    """One score of one pair of rows. means: of both rows over the seeds that both have, None where there are none.

    p_holm: the test's p-value adjusted for all tests of the comparison, None where there was none.
    """

    pair: Pair
    score: str
    means: tuple[float | None, float | None]
    verdict: Verdict
    p_holm: float | None


def findings(pairs: Sequence[Pair], scores: Sequence[str], card: RunnerCard) -> list[Finding]:
    """Every score of every pair."""
    judged = [(pair, name, of(pair, name, card)) for pair in pairs for name in scores]
    adjusted = iter(stats.holm([result.p for *_, result in judged if result.difference.n >= LEAST_SEEDS]))
    return [
        Finding(pair, name, _means(pair, name), result, next(adjusted) if result.difference.n >= LEAST_SEEDS else None)
        for pair, name, result in judged
    ]


def _means(pair: Pair, name: str) -> tuple[float | None, float | None]:
    first, second = pair.row.exact(name), pair.other.exact(name)
    seeds = first.keys() & second.keys()
    return (fmean(first[seed] for seed in seeds), fmean(second[seed] for seed in seeds)) if seeds else (None, None)
