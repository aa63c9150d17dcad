"""Intervals and seeds needed, against scipy's distributions."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthbench.scores.statistics import MOST_SEEDS, interval, seeds_needed

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)


@given(VALUES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_is_students(values: list[float], level: float) -> None:
    found = interval(values, level)
    error = float(np.std(values, ddof=1)) / sqrt(len(values))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.n == len(values)
    if error > 1e-9:
        low, high = stats.t.interval(level, len(values) - 1, np.mean(values), error)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@given(VALUES)
def test_values_that_were_not_measured_are_left_out_and_counted_out(values: list[float]) -> None:
    assert interval([nan, *values, nan]) == interval(values)


def test_one_value_has_a_mean_and_no_interval() -> None:
    found = interval([0.5, nan])
    assert (found.mean, found.n) == (0.5, 1)
    assert isnan(found.low)
    assert isnan(found.high)
    assert not found.excludes_zero


@pytest.mark.parametrize("values", [[], [nan], [nan, nan]])
def test_no_value_has_no_mean(values: list[float]) -> None:
    found = interval(values)
    assert found.n == 0
    assert all(isnan(value) for value in found[:3])
    assert not found.excludes_zero


@pytest.mark.parametrize(
    ("values", "excludes"),
    [([1.0, 1.1, 0.9], True), ([-1.0, -1.1, -0.9], True), ([1.0, -1.0, 0.5], False), ([2.0, 2.0], True)],
)
def test_an_interval_excludes_zero_on_either_side(values: list[float], excludes: bool) -> None:
    assert interval(values).excludes_zero is excludes


def test_95_of_100_intervals_hold_the_mean() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(3.0, 2.0, size=(2000, 4))
    covered = np.mean([low <= 3.0 <= high for _, low, high, _ in map(interval, draws.tolist())])
    assert covered == pytest.approx(0.95, abs=4 * sqrt(0.95 * 0.05 / 2000))


def by_definition(effect: float, power: float) -> float:
    """The least n at which a two-sided paired t test at 5 % passes with this power (the wrong tail not counted)."""
    for n in range(2, MOST_SEEDS + 1):
        bound = stats.t.ppf(0.975, n - 1)
        if stats.nct.sf(bound, n - 1, effect * sqrt(n)) >= power:
            return n
    return inf


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("effect", [0.25, 0.75, 1.2, 1.7, 3.3])
def test_seeds_needed_are_the_least_with_the_power_asked_for(effect: float, power: float) -> None:
    deviation = float(np.std([0.0, 1.0, 2.0], ddof=1))
    differences = [value + effect * deviation - 1.0 for value in (0.0, 1.0, 2.0)]
    assert seeds_needed(differences, power) == by_definition(effect, power)
    assert seeds_needed([-value for value in differences], power) == by_definition(effect, power)


def test_seeds_needed_change_at_the_effects_where_the_definition_does() -> None:
    """Few seeds, where a wrong degree of freedom shows."""
    effects = np.linspace(1.2, 4.2, 61).tolist()
    found = [seeds_needed([effect - 1.0, effect, effect + 1.0]) for effect in effects]
    assert found == [by_definition(effect, 0.8) for effect in effects]
    assert {3, 4, 5, 6, 7, 8} <= set(found)


def test_designs_table_of_what_n_seeds_can_tell_holds() -> None:
    """DESIGN: with 80 % power one test tells 3.3, 1.7, 1.2 and 0.75 deviations with 3, 5, 8 and 16 seeds."""
    for effect, n in ((3.3, 3), (1.7, 5), (1.2, 8), (0.75, 16)):
        assert abs(by_definition(effect, 0.8) - n) <= 1


def test_no_number_of_seeds_tells_no_difference_or_a_tiny_one() -> None:
    assert seeds_needed([1.0, -1.0]) == inf
    assert seeds_needed([0.0, 0.0]) == inf
    assert seeds_needed([1.0, -1.0, 0.001]) == inf


def test_two_seeds_tell_a_difference_that_never_varies() -> None:
    assert seeds_needed([0.25, 0.25, 0.25]) == 2
