"""Two groups of rows, paired with each other, score by score."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from synthbench.analysis import pairing, verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import holm
from synthbench.analysis.verdict import LEAST_SEEDS, Verdict
from synthbench.cards import RunnerCard


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
    judged = [(pair, name, verdict.of(pair, name, card)) for pair in pairs for name in scores]
    adjusted = iter(holm([result.p for *_, result in judged if result.difference.n >= LEAST_SEEDS]))
    return [
        Finding(pair, name, _means(pair, name), result, next(adjusted) if result.difference.n >= LEAST_SEEDS else None)
        for pair, name, result in judged
    ]


def counterparts(sides: Sequence[Sequence[Row]], axis: str | None) -> tuple[list[Pair], list[Row]]:
    """The rows of the first side with those of the second that differ in this axis alone; and those without one."""
    paired = [(row, pairing.counterpart(row, sides[1], apart_from=axis)) for row in sides[0]]
    return [Pair(row, other) for row, other in paired if other], [row for row, other in paired if not other]


def _means(pair: Pair, name: str) -> tuple[float | None, float | None]:
    first, second = pair.row.exact(name), pair.other.exact(name)
    seeds = first.keys() & second.keys()
    return (fmean(first[seed] for seed in seeds), fmean(second[seed] for seed in seeds)) if seeds else (None, None)
