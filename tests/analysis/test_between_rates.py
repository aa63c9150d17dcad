"""Readings between rates, of all seeds at once, are the numbers of `scores/reading.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.analysis.between_rates import between_rates
from synthbench.experiment.readings import Wanted, read
from synthbench.scores.reading import FITS, Path, Rates
from tests.experiment.test_readings import NAMES, PATHS, WANTED


def near(value: float) -> object:
    """The mean over fits is summed in another way."""
    return pytest.approx(value, rel=1e-14, abs=1e-15, nan_ok=True)


@given(st.lists(st.lists(PATHS, max_size=4), min_size=1, max_size=3), WANTED, st.lists(st.floats(0.5, 50), max_size=2))
@settings(max_examples=200)
def test_readings_between_rates(seeds: list[list[Path]], of: Wanted, others: list[float]) -> None:
    steps = [of.target_step, *others]
    found = [*between_rates([[read(path, of) for path in paths] for paths in seeds], steps, NAMES)]
    assert len(found) == len(steps)
    for step, (at_fit, over_fits) in zip(steps, found, strict=True):
        for row, paths in enumerate(seeds):
            rates = Rates(paths, of.fit_of)
            for column, name in enumerate(NAMES):
                assert at_fit[row, column] == pytest.approx(rates.at_fit(name, of.fit, step), rel=0, abs=0, nan_ok=True)
                assert over_fits[row, column] == near(rates.over_fits(name, of.fit, step))
    assert set(FITS) <= set(of.levels)


def test_a_score_that_is_missing_at_one_rate_has_no_reading() -> None:
    of = Wanted(0.9, "fit", 10.0, 0.5)
    slow = {0: {"fit": 0.0, "kl": 0.0}, 20: {"fit": 1.0, "kl": 2.0}}
    fast = {0: {"fit": 0.0}, 10: {"fit": 1.0}}
    ((at_fit, _),) = between_rates([[read(slow, of), read(fast, of)]], [10.0], ["fit", "kl"])
    assert at_fit[0, 0] == pytest.approx(0.9)
    assert at_fit[0, 1] != at_fit[0, 1]
