"""Ranks within a task: the places that significant differences leave a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from tests.recompute.contrasts import alike, contrast, is_incomplete
from tests.recompute.readings import values
from tests.recompute.rows import Row
from tests.recompute.runs import Object
from tests.recompute.statistics import LEVEL, Contrast, holm


class Place(NamedTuple):
    """behind: the best row less this one, signed so that above 0 is worse."""

    first: int | None
    last: int | None
    behind: Contrast | None


def places(rows: Sequence[Row], name: str, sign: int, card: Object, seeds: Sequence[int]) -> list[Place]:
    """Of rows of one task and size. sign: 1 where a higher score is better, else -1."""
    whole = [row for row in rows if not is_incomplete(row, name, seeds)]
    whole = [row for row in whole if alike(row.trials, usual(whole), card)]
    pairs = [*combinations(whole, 2)]
    tests = [contrast([pair], name) for pair in pairs]
    beaten = [
        pair if found.is_above() is (sign > 0) else pair[::-1]  # better, worse
        for pair, found, p in zip(pairs, tests, holm([found.p() for found in tests]), strict=True)
        if p < LEVEL
    ]
    best = max(whole, key=lambda row: sign * fmean(values(row, name).values()), default=None)
    found = []
    for row in rows:
        first, last = (sum(row is pair[side] for pair in beaten) for side in (1, 0))
        is_behind = row in whole and best is not None and row is not best
        behind = contrast([(best, row) if sign > 0 else (row, best)], name) if best and is_behind else None
        found.append(Place(1 + first, len(whole) - last, behind) if row in whole else Place(None, None, None))
    return found


def usual(rows: Sequence[Row]) -> Sequence[int]:
    """The trials that most rows had."""
    return Counter(tuple(row.trials) for row in rows).most_common(1)[0][0]
