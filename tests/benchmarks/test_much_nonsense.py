"""Thousands of cases of nonsense, and every nasty word in every place that takes one; none is trained."""

from __future__ import annotations

import pytest

from tests import nonsense


@pytest.mark.slow
def test_thousands_of_cases_of_nonsense() -> None:
    found = nonsense.campaign(1_500, nonsense.PATIENCE)
    assert not found.broken
    assert found.trials > 4_000
    assert found.outcomes["refused with exit code 2"] > 0.8 * found.trials
