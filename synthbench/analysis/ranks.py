"""Ranks: within a task, how far a row is behind the best one, and which places its pairwise tests leave it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from synthbench.analysis.fairness import unlike_most
from synthbench.analysis.pairing import Pair, contrast, is_ranked, setting
from synthbench.analysis.rank_test import rank_shift
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval, difference, difference_p, holm
from synthbench.analysis.verdict import LEAST_SEEDS, LEVEL
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES
from synthbench.scores.reading import ENOUGH

SEEDS_FOR_RANKS = 8  # least of a card that shows ranks


class Rank(NamedTuple):
    """The places of a row among N of its task. first: 1 + the rows that are significantly better. last: N - the rows that
    are significantly worse. behind: the row with the best mean less this one, in the score's unit and with a 95 % interval;
    above 0 where this one is worse, None for the best row."""

    first: int
    last: int
    behind: Interval | None

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.first < self.last else f"{self.first}"


def lacking(rows: Sequence[Row], score: str, card: RunnerCard) -> dict[int, str]:
    """By index the rows that get no rank, and why."""
    whole = [(index, row) for index, row in enumerate(rows) if not row.reference]
    reasons = {index: "a reference row" for index, row in enumerate(rows) if row.reference}
    reasons |= {index: why for index, row in whole if (why := incomplete(row, score, card.seed_list))}
    for group in {setting(row) for _, row in whole}:
        members = [index for index, row in whole if setting(row) == group and index not in reasons]
        unlike = unlike_most([rows[index] for index in members], card)
        reasons |= {members[position]: why for position, why in unlike.items()}
    return dict(sorted(reasons.items()))


def incomplete(row: Row, score: str, seeds: Sequence[int]) -> str | None:
    """Why a row has too few of these seeds in a score; None where it has enough. A bound is a value where scores are
    ranked."""
    values = row.values.get(score, {}) if is_ranked(score) else row.exact(score)
    if row.lr is None:
        return "diverged"
    if missing := set(seeds) - set(row.seeds):
        return f"{len(seeds) - len(missing)} of {len(seeds)} seeds"
    if SCORES[score].level != "cell" and (lost := set(seeds) - values.keys()):
        return f"diverged at {len(lost)} of {len(seeds)} seeds"
    return None if len(values) >= max(LEAST_SEEDS, ENOUGH * len(seeds)) else "not reached"


def ranks(rows: Sequence[Row], score: str, card: RunnerCard) -> list[Rank | None]:
    """The rank of each row in a score that has a direction; None for a row that lacks something. Pairwise tests as of any
    two rows, Holm over all pairs of a task, 5 %."""
    placed, without = dict[int, Rank](), lacking(rows, score, card)
    whole = [index for index in range(len(rows)) if index not in without]
    for group in {setting(rows[index]) for index in whole}:
        members = [index for index in whole if setting(rows[index]) == group]
        placed |= dict(zip(members, _of_group([rows[index] for index in members], score), strict=True))
    return [placed.get(index) for index in range(len(rows))]


def _of_group(rows: Sequence[Row], score: str) -> list[Rank]:
    """The ranks of rows that all have one."""
    first, last = [1] * len(rows), [len(rows)] * len(rows)
    pairs = list(combinations(range(len(rows)), 2))
    contrasts = [contrast([Pair(rows[a], rows[b])], score) for a, b in pairs]
    sign = 1 if SCORES[score].better == "up" else -1
    for (a, b), compared, p in zip(pairs, contrasts, holm([*map(difference_p, contrasts)]), strict=True):
        if p < LEVEL:
            shift = rank_shift(compared) if compared.is_ranked else compared.mean
            better, worse = (a, b) if sign * shift > 0 else (b, a)
            first[worse] += 1
            last[better] -= 1
    best = max(rows, key=lambda row: sign * fmean(row.values[score].values()))
    behind = [None if row is best else _behind(row, best, score, sign) for row in rows]
    return [Rank(*of_row) for of_row in zip(first, last, behind, strict=True)]


def _behind(row: Row, best: Row, score: str, sign: int) -> Interval:
    """How much better the best row is."""
    return difference(contrast([Pair(best, row) if sign > 0 else Pair(row, best)], score))
