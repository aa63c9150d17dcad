"""The resampling behind reports/power.md, on pools whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from docs import power


def pool(deviation: float) -> dict[int, float]:
    """64 values at the quantiles of a normal distribution."""
    return dict(enumerate(0.5 + deviation * stats.norm.ppf((np.arange(64) + 0.5) / 64)))


def test_differences_are_found_as_often_as_the_power_of_welch_s_test_says() -> None:
    deviation, own, difference = 0.04, 8, 0.05
    found = power.kinds(pool(deviation), own, difference, 0.05)["higher"] / power.TRIALS
    error = deviation * (1 / own + 1 / power.REFERENCE) ** 0.5
    freedom = 9  # Welch's, roughly
    expected = 1 - stats.nct.cdf(stats.t.ppf(0.975, freedom), freedom, difference / error)
    assert found == pytest.approx(expected, abs=0.06)


def test_without_a_difference_one_is_found_in_about_one_of_twenty() -> None:
    counted = power.kinds(pool(0.04), 8, 0.0, 0.05)
    assert (counted["higher"] + counted["lower"]) / power.TRIALS == pytest.approx(0.05, abs=0.03)
    assert power.kinds(pool(0.005), 8, 0.0, 0.05)["equal"] / power.TRIALS > 0.9
