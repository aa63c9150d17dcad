"""Thousands of meaningless commands, and every word of NASTY in every place that takes one; nothing is trained."""

from __future__ import annotations

import pytest

from tests import nonsense


@pytest.mark.slow
def test_thousands_of_meaningless_commands() -> None:
    campaign = nonsense.campaign(1_500, nonsense.TIMEOUT)
    assert not campaign.violations
    assert campaign.trials > 4_000
    assert campaign.outcomes["refused with exit code 2"] > 0.8 * campaign.trials
