"""Whether two sequences of numbers are in one order: Kendall's count of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def concordance(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Of the pairs of places at which both sequences differ, the share in one order less that in opposite orders: from -1
    to 1 (Kendall's tau where there are no ties). None where no pair differs in both. Infinite ones are beyond all others.
    """
    pairs = combinations(range(len(first)), 2)
    signs = [sign for a, b in pairs if (sign := _sign(first[a], first[b]) * _sign(second[a], second[b]))]
    return sum(signs) / len(signs) if signs else None


def _sign(number: float, other: float) -> int:
    return (number > other) - (number < other)
