"""Readings at equal fit and at a target step are interpolated between bracketing points, never extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbench.scores.reading import (
    FITS,
    Rates,
    Reached,
    at_step,
    bracket,
    crossing,
    first_reaching,
    is_reached,
    median,
    value_at,
)
from tests.each import each


def path(*points: tuple[int, float]) -> dict[int, dict[str, float]]:
    """A path through (step, fit) points; `forgetting` is a tenth of the step."""
    return {step: {"fit": fit, "forgetting": step / 10} for step, fit in points}


def value_at_step(readings: Sequence[tuple[float, float]], target_step: float) -> float:
    """The value at a target step, from (T, value) of each learning rate of one seed."""
    bracketing = bracket([step for step, _ in readings], target_step)
    return bracketing.between([value for _, value in readings]) if bracketing else nan


@each(
    ("points", "step"),
    [
        ([(0, 0.0), (10, 1.0)], 9.0),
        ([(0, 0.0), (10, 0.5), (20, 0.7), (30, 1.0)], 20 + 10 * 0.2 / 0.3),
        ([(0, 0.0), (10, 0.9), (20, 1.0)], 10.0),  # reached exactly at a point
        ([(0, 0.95), (10, 1.0)], 0.0),  # reached at the start
        ([(10, 0.95), (20, 1.0)], 10.0),  # reached before the first point
        ([(0, 0.0), (10, 1.0), (20, 0.0), (30, 1.0)], 9.0),  # the first of several crossings
        ([(0, 0.0), (10, 0.8), (20, 0.8), (30, 0.8), (40, 1.0)], 35.0),
    ],
)
def test_the_crossing_is_the_first_step_with_enough_fit(points: list[tuple[int, float]], step: float) -> None:
    assert crossing(path(*points), 0.9) == pytest.approx(step)
    assert crossing(path(*points[::-1]), 0.9) == pytest.approx(step)  # in any order of points


@each("points", [[(0, 0.0), (10, 0.89)], [(0, 0.0)], [], [(0, nan), (10, 1.0)], [(0, 0.0), (10, nan), (20, 1.0)]])
def test_a_path_that_never_fits_or_has_nan_before_has_no_crossing(
    points: list[tuple[int, float]],
) -> None:
    assert crossing(path(*points), 0.9) is None
    assert crossing({step: {"forgetting": fit} for step, fit in points}, 0.9) is None  # a path without fit


def test_another_score_may_be_meant_by_fit() -> None:
    """Recall of the head reaches .9 at step 16 and (the slow rate) 64, the tail's is 0.16 and 0.64 there; fit is sooner."""
    fast, slow = (
        {step: {"fit": fit, "head_recall": head, "tail_recall": step / 100} for step, fit, head in points}
        for points in (
            [(0, 0.0, 0.0), (10, 1.0, 0.6), (20, 1.0, 1.1)],
            [(0, 0.0, 0.0), (40, 0.95, 0.5), (70, 1.0, 1.0)],
        )
    )
    assert crossing(fast, 0.9) == pytest.approx(9)
    assert crossing(fast, 0.9, "head_recall") == pytest.approx(10 + 10 * 0.3 / 0.5)  # 16
    assert crossing(slow, 0.9, "head_recall") == pytest.approx(40 + 30 * 0.4 / 0.5)  # 64
    assert crossing(fast, 0.9, "tail_recall") is None
    assert crossing(fast, 0.9, "rule_accuracy") is None
    assert Rates([slow, fast], "head_recall").at_fit("tail_recall", 0.9, 32) == pytest.approx((0.16 + 0.64) / 2)
    assert isnan(Rates([slow, fast]).at_fit("tail_recall", 0.9, 64))  # fit is reached at steps 9 and 37.9
    assert isnan(Rates([slow, fast], "rule_accuracy").at_fit("tail_recall", 0.9, 32))


@each(("step", "value"), [(0, 0.0), (10, 2.0), (5, 1.0), (12.5, 2.5), (20, 4.0)])
def test_a_value_between_two_points_is_interpolated_linearly(step: float, value: float) -> None:
    path = {0: {"x": 0.0}, 10: {"x": 2.0}, 20: {"x": 4.0}}
    assert value_at(path, "x", step) == pytest.approx(value)


def test_a_missing_value_is_nan() -> None:
    assert isnan(value_at({0: {"x": 0.0}, 10: {}}, "x", 5))
    assert isnan(value_at({0: {}, 10: {"x": 0.0}}, "x", 5))
    assert value_at({0: {}, 10: {"x": 3.0}}, "x", 10) == 3.0


@each(
    ("readings", "target_step", "value"),
    [
        ([(50, 0.0), (200, 1.0)], 100, 0.5),  # between two rates, in the logarithm of steps
        ([(50, 0.0), (200, 1.0)], 80, log(80 / 50) / log(4)),
        ([(400, 9.0), (25, 9.0), (50, 0.0), (200, 1.0)], 100, 0.5),  # between the nearest rates
        ([(100, 0.25), (200, 1.0)], 100, 0.25),  # at the target step itself
        ([(50, 1.0), (100, 0.25)], 100, 0.25),
        ([(100, 0.25), (100, 0.25)], 100, 0.25),
        *(([*readings], 100, nan) for readings in ((), [(100, 1.0)], [(50, 0.0), (99, 1.0)], [(101, 0.0), (200, 1.0)])),
    ],
)
def test_a_target_step_is_read_between_the_rates_that_bracket_it(
    readings: list[tuple[float, float]], target_step: float, value: float
) -> None:
    assert value_at_step(readings, target_step) == pytest.approx(value, nan_ok=True)


@given(
    st.lists(st.tuples(st.floats(1, 1000), st.floats(-1, 1)), min_size=2, max_size=6, unique_by=lambda pair: pair[0]),
    st.floats(1, 1000),
    st.randoms(use_true_random=False),
)
def test_a_reading_lies_between_its_neighbours_in_any_order_of_rates(
    readings: list[tuple[float, float]], target_step: float, random: st.randoms
) -> None:
    value = value_at_step(readings, target_step)
    steps = [step for step, _ in readings]
    assert isnan(value) == (not min(steps) <= target_step <= max(steps))
    if not isnan(value):
        faster = max(pair for pair in readings if pair[0] <= target_step)[1]
        slower = min(pair for pair in readings if pair[0] >= target_step)[1]
        assert min(faster, slower) - 1e-12 <= value <= max(faster, slower) + 1e-12
    shuffled = list(readings)
    random.shuffle(shuffled)
    assert value_at_step(shuffled, target_step) == value or isnan(value)


def test_a_seed_is_read_where_each_rate_first_fits() -> None:
    # forgetting is a tenth of the step: 5 where T = 50 and 20 where T = 200; in between, linear in log T
    fast, slow = path((0, 0.0), (50, 0.9), (300, 1.0)), path((0, 0.0), (200, 0.9), (300, 1.0))
    never = path((0, 0.0), (300, 0.5))
    assert Rates([slow, never, fast]).at_fit("forgetting", 0.9, 100) == pytest.approx(5 + 15 * 0.5)
    assert isnan(Rates([fast, never]).at_fit("forgetting", 0.9, 100))
    assert isnan(Rates([]).at_fit("forgetting", 0.9, 100))


@each(
    ("seeds", "reached"),
    [
        ([], False),
        ([nan], False),
        ([0.0], True),
        ([1.0, nan], False),
        ([1.0, 1.0, nan], False),
        ([1.0] * 3 + [nan], False),
        ([1.0] * 4 + [nan], True),  # 80 % of five
        ([1.0] * 7 + [nan] * 2, False),
        ([1.0] * 8 + [nan] * 2, True),
    ],
)
def test_a_cell_needs_80_percent_of_its_seeds(seeds: list[float], reached: bool) -> None:
    assert is_reached(seeds) is reached


def test_a_bracket_gives_indices_of_rates_and_skips_rates_that_never_fit() -> None:
    bracketing = bracket([400.0, None, 50.0, 200.0], 100)
    assert bracketing is not None
    assert (bracketing.fast, bracketing.slow) == (2, 3)
    assert bracketing.weight == pytest.approx(0.5)
    assert bracketing.between([9.0, nan, 1.0, 3.0]) == pytest.approx(2.0)  # other rates have no weight
    assert bracket([None, 50.0, None], 50) is None


def test_a_reading_over_fit_is_the_mean_over_fit_thresholds() -> None:
    # the fast rate reaches fit f at step 100 f / 0.9, the slow one at 400 f / 0.9; step 200 is halfway in log
    fast, slow = path((0, 0.0), (100, 0.9)), path((0, 0.0), (400, 0.9))
    mean = sum(FITS) / len(FITS) / 0.9
    assert Rates([slow, fast]).over_fits("forgetting", 0.9, 200) == pytest.approx((10 * mean + 40 * mean) / 2)
    assert isnan(Rates([fast]).over_fits("forgetting", 0.9, 200))


def test_a_reading_at_equal_steps_is_interpolated_along_the_path_and_ends_with_it() -> None:
    points = path((0, 0.0), (10, 0.5), (20, 0.7))
    assert at_step(points, "forgetting", 14) == pytest.approx(1.4)
    assert at_step(points, "fit", 20) == 0.7
    assert isnan(at_step(points, "forgetting", 21))
    assert isnan(at_step(points, "retention", 14))
    assert isnan(at_step({}, "forgetting", 14))


@each(
    ("path", "expected"),
    [
        ({}, None),
        ({10: nan}, None),
        ({10: 0.6, 20: 0.9}, Reached(10, "<")),  # reached at or before the first point
        ({10: 0.1, 20: 0.4}, Reached(20, ">")),
        ({10: 0.0, 40: 1.0}, Reached(20, "")),  # halfway in log items
        ({40: 1.0, 10: 0.0}, Reached(20, "")),
        ({0: 0.9, 10: 0.5, 20: 0.6}, Reached(10, "<")),  # step 0 does not count
        ({10: 0.0, 20: 0.5, 40: 0.0}, Reached(20, "")),
        ({10: 0.0, 40: 1.0, 80: 0.0, 160: 1.0}, Reached(20, "")),  # the first of several
        ({10: 0.25, 20: nan, 40: 0.75}, Reached(20, "")),
    ],
)
def test_a_threshold_is_interpolated_or_censored(path: dict[int, float], expected: Reached | None) -> None:
    result = first_reaching(path, 0.5)
    assert (result and result.censored) == (expected and expected.censored)
    assert expected is None or (result is not None and result.value == pytest.approx(expected.value))


@each(
    ("seeds", "expected"),
    [
        ([], None),
        ([Reached(3, "")], Reached(3, "")),
        ([Reached(1, ""), Reached(3, ""), Reached(2, ">")], Reached(3, "")),  # a censored seed is the largest
        ([Reached(1, ""), Reached(9, ">"), Reached(9, ">")], Reached(9, ">")),
        ([Reached(1, ""), Reached(9, ">")], Reached(5, ">")),
        ([Reached(2, "<"), Reached(4, "")], Reached(3, "<")),  # the mean of a bound and a value is a bound
        ([Reached(2, "<"), Reached(2, "<"), Reached(4, "")], Reached(2, "<")),
    ],
)
def test_the_median_takes_censored_seeds_as_the_largest(seeds: list[Reached], expected: Reached | None) -> None:
    assert median(seeds) == expected
