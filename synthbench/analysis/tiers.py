"""Tiers: within a task, 1 + the number of rows that are significantly better."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from synthbench.analysis.fairness import unlike_most
from synthbench.analysis.pairing import Pair, contrast, setting
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import difference_p, holm
from synthbench.analysis.verdict import LEAST_SEEDS, LEVEL
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES
from synthbench.scores.reading import ENOUGH

SEEDS_FOR_TIERS = 8  # least of a card that shows tiers


def lacking(rows: Sequence[Row], score: str, card: RunnerCard) -> dict[int, str]:
    """By index the rows that get no tier, and why."""
    whole = [(index, row) for index, row in enumerate(rows) if not row.reference]
    reasons = {index: "a reference row" for index, row in enumerate(rows) if row.reference}
    reasons |= {index: why for index, row in whole if (why := incomplete(row, score, card.seed_list))}
    for group in {setting(row) for _, row in whole}:
        members = [index for index, row in whole if setting(row) == group and index not in reasons]
        unlike = unlike_most([rows[index] for index in members], card)
        reasons |= {members[position]: why for position, why in unlike.items()}
    return dict(sorted(reasons.items()))


def incomplete(row: Row, score: str, seeds: Sequence[int]) -> str | None:
    """Why a row has too few of these seeds in a score; None where it has enough."""
    values = row.exact(score)
    if row.lr is None:
        return "diverged"
    if missing := set(seeds) - set(row.seeds):
        return f"{len(seeds) - len(missing)} of {len(seeds)} seeds"
    if SCORES[score].level != "cell" and (lost := set(seeds) - values.keys()):
        return f"diverged at {len(lost)} of {len(seeds)} seeds"
    return None if len(values) >= max(LEAST_SEEDS, ENOUGH * len(seeds)) else "not reached"


def tiers(rows: Sequence[Row], score: str, card: RunnerCard) -> list[int | None]:
    """The tier of each row in a score that has a direction; None for a row that lacks something. Paired t tests over
    common seeds (Welch's where rows are not paired), Holm over all pairs of a task, 5 %."""
    tier, without = dict[int, int](), lacking(rows, score, card)
    ranked = [index for index in range(len(rows)) if index not in without]
    for group in {setting(rows[index]) for index in ranked}:
        members = [index for index in ranked if setting(rows[index]) == group]
        tier |= dict.fromkeys(members, 1)
        pairs = list(combinations(members, 2))
        contrasts = [contrast([Pair(rows[a], rows[b])], score) for a, b in pairs]
        for (a, b), compared, p in zip(pairs, contrasts, holm([*map(difference_p, contrasts)]), strict=True):
            if p < LEVEL:
                first_is_better = (compared.mean > 0) is (SCORES[score].better == "up")
                tier[b if first_is_better else a] += 1
    return [tier.get(index) for index in range(len(rows))]
