"""What the difference of two rows in a score decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf, isfinite, nan
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

from synthbench.analysis import statistics as stats
from synthbench.analysis.contrast import Contrast
from synthbench.analysis.fairness import unfair
from synthbench.analysis.pairing import Pair, contrast, is_ranked, sides
from synthbench.analysis.rank_test import rank_shift
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES
from synthbench.scores.reading import BETWEEN_RATES

LEAST_FLIPPED = 6  # seeds whose signs, all alike, are significant at 5 %: 2 / 2^6
LEAST_SEEDS = 3  # of each row: of two, a difference may well be the same by chance
LEVEL = 0.05
Kind = Literal[
    "higher", "lower", "equal", "identical", "inconclusive", "depends on target step", "too few seeds", "not comparable"
]
DECIDED: tuple[Kind, ...] = ("higher", "lower")


class Verdict(NamedTuple):
    """What a score's contrast decides.

    difference: the mean with its 95 % interval. p: of the t test. margin: the largest difference that counts as none, None
    where the card has none for the score's unit. detectable: the difference that as many seeds detect with 80 % power.
    seeds: where inconclusive, the estimated number for 80 % power, to find this difference or one below the margin.
    paired: whether all this is of differences by seed; else it is Welch's of two samples. ranked: whether a rank test
    decides; then the difference is a median without interval, and nothing is estimated from a deviation. why: where not
    comparable. elsewhere: kind and mean at each other target step of the card where the verdict is of another kind, or the
    mean lies outside of this interval.
    """

    kind: Kind
    difference: Interval
    p: float
    margin: float | None
    detectable: float
    seeds: float = nan
    paired: bool = True
    ranked: bool = False
    why: str = ""
    elsewhere: Mapping[int, tuple[Kind, float]] = {}

    @property
    def is_small(self) -> bool:
        """Whether all of the interval counts as no difference."""
        return self.margin is not None and max(abs(self.difference.low), abs(self.difference.high)) < self.margin

    @property
    def is_test(self) -> bool:
        """Whether something is decided by its p-value."""
        return self.kind not in ("too few seeds", "not comparable")


def verdict(compared: Contrast, margin: float | None, signs: Collection[bool] = ()) -> Verdict:
    """The verdict on a contrast. signs: of its mean at every target step that is read, True above 0.

    A direction where the 95 % interval excludes 0 (it depends on the target step where the signs differ), `equal` where an
    equivalence test at 5 % (the 90 % interval) keeps the mean within the margin, `identical` where no value differs, else
    inconclusive. Where a score is ranked, a direction where the rank test's p is below 5 %.
    """
    difference, p = stats.difference(compared), stats.difference_p(compared)
    if compared.is_ranked:
        return _by_rank(compared, difference, p)
    if compared.fewest < LEAST_SEEDS:
        return Verdict("too few seeds", difference, p, margin, inf, paired=compared.is_paired)
    detectable = stats.detectable(*stats.standard_error(compared))
    judged = Verdict("inconclusive", difference, p, margin, detectable, paired=compared.is_paired)
    if compared.is_nothing:
        return judged._replace(kind="identical")
    if difference.excludes_zero:
        kind: Kind = "higher" if difference.mean > 0 else "lower"
        return judged._replace(kind="depends on target step" if len(set(signs)) > 1 else kind)
    if margin is not None and stats.equivalence_p(compared, margin) <= LEVEL:
        return judged._replace(kind="equal")
    seeds = max(stats.seeds_needed(compared), LEAST_FLIPPED if compared.is_flipped else 0.0)
    if margin is not None:
        seeds = min(seeds, stats.seeds_for_equivalence(compared, margin))
    return judged._replace(seeds=max(seeds, difference.n + 1))


def _by_rank(compared: Contrast, median_difference: Interval, p: float) -> Verdict:
    judged = Verdict("inconclusive", median_difference, p, None, inf, paired=compared.is_paired, ranked=True)
    if compared.fewest < LEAST_SEEDS:
        return judged._replace(kind="too few seeds")
    if compared.is_nothing:
        return judged._replace(kind="identical")
    return judged._replace(kind="higher" if rank_shift(compared) > 0 else "lower") if p < LEVEL else judged


def of(pair: Pair, name: str, card: RunnerCard) -> Verdict:
    """The verdict on a score of two rows; readings `x@fit` at the card's target step, their signs at all of its steps."""
    at_steps = [contrast([pair], name, target_step) for target_step in pair.row.target_steps.get(name, {})]
    signs = {read.mean > 0 for read in at_steps if read.n and not read.is_nothing}
    judged = verdict(contrast([pair], name), card.margins.get(SCORES[name].unit), signs)
    why = unfair(pair, name, card) if judged.kind != "too few seeds" else None
    return judged._replace(kind="not comparable", why=why) if why else with_elsewhere(judged, [pair], name, card)


Estimate = Callable[[Sequence[Any], str, int | None], Contrast]  # of pairs or the like, in a score, at a target step


def with_elsewhere(
    judged: Verdict, pairs: Sequence[Any], name: str, card: RunnerCard, estimate: Estimate = contrast
) -> Verdict:
    """A verdict on the mean over pairs (or what else is estimated) with what it is at other target steps. Where not all
    pairs have a reading at a target step, those that have are compared with themselves at the card's own."""
    elsewhere, margin = dict[int, tuple[Kind, float]](), card.margins.get(SCORES[name].unit)
    others = [step for step in card.reading.target_steps if step != card.reading.target_step]
    for step in others if name.endswith(tuple(BETWEEN_RATES)) and judged.is_test else ():
        read = [pair for pair in pairs if estimate([pair], name, step).n and estimate([pair], name, None).n]
        here, there = (verdict(estimate(read, name, at), margin) for at in (None, step))
        is_outside = not here.difference.low <= there.difference.mean <= here.difference.high
        if here.is_test and there.is_test and (there.kind != here.kind or is_outside):
            elsewhere[step] = there.kind, there.difference.mean
    return judged._replace(elsewhere=elsewhere)


class Finding(NamedTuple):
    """One score of one pair of rows. means: of both rows, over the seeds that both have where they are paired, or medians
    of what is ranked; None where one has none, or where it is a bound.

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
    adjusted = iter(stats.holm([result.p for *_, result in judged if result.is_test]))
    return [
        Finding(pair, name, _means(pair, name), result, next(adjusted) if result.is_test else None)
        for pair, name, result in judged
    ]


def _means(pair: Pair, name: str) -> tuple[float | None, float | None]:
    first, second = sides(pair, name)
    if not (first and second):
        return None, None
    low, high = (median(side.values()) if is_ranked(name) else fmean(side.values()) for side in (first, second))
    return low if isfinite(low) else None, high if isfinite(high) else None
