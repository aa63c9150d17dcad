"""Kendall's count of pairs, with ties and bounds."""

from __future__ import annotations

from math import inf

import pytest
from scipy import stats

from synthbench.analysis.order import concordance
from tests.each import each


@each(
    ("first", "second", "share"),
    [
        ([1, 2, 3], [4, 5, 6], 1.0),
        ([1, 2, 3], [6, 5, 4], -1.0),
        ([1, 2, 3], [5, 4, 6], 1 / 3),  # two of three pairs in one order
        ([1, 1, 2], [4, 5, 6], 1.0),  # the first two do not differ in the first sequence
        ([1, 2], [3, 3], None),
        ([1, 2, 3], [5, inf, inf], 1.0),  # two bounds do not differ
        ([1], [1], None),
    ],
)
def test_the_share_of_pairs_in_one_order(first: list[float], second: list[float], share: float | None) -> None:
    assert concordance(first, second) == (None if share is None else pytest.approx(share))


def test_without_ties_it_is_kendall_s_tau() -> None:
    first, second = [0.3, 0.1, 0.9, 0.4, 0.7], [2.0, 3.0, 5.0, 1.0, 4.0]
    assert concordance(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
