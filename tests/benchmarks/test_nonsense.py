"""Ten thousand cases of nonsense, and every nasty word in every place that takes one; none is trained."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.nonsense import Case, cases, every_option, judge

pytestmark = pytest.mark.slow


def test_ten_thousand_cases_of_nonsense() -> None:
    codes: Counter[int] = Counter()

    @settings(max_examples=10_000, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
    @given(cases)
    def ask(case: Case) -> None:
        codes[judge(case)] += 1

    ask()
    assert codes.total() >= 10_000
    assert codes[2] > 0.8 * codes.total()
    print(f"{codes.total()} cases, of which {codes[0]} mean something")


def test_every_nasty_word_in_every_place() -> None:
    for case in every_option():
        judge(case)
