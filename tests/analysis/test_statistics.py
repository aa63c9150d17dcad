"""Intervals, tests and numbers of seeds, against scipy, statsmodels and cases computed by hand."""

from __future__ import annotations

from math import ceil, inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthbench.analysis.contrast import RESOLUTION, Contrast, one_task
from synthbench.analysis.statistics import (
    MOST_SEEDS,
    detectable,
    difference,
    difference_p,
    equivalence_p,
    holm,
    interval,
    seeds_for_equivalence,
    seeds_needed,
    standard_error,
)
from tests.each import each

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)


@given(VALUES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_is_student_s(values: list[float], level: float) -> None:
    result = interval(values, level)
    standard_error = float(np.std(values, ddof=1)) / sqrt(len(values))
    assert result.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert result.n == len(values)
    if standard_error > 1e-9:
        low, high = stats.t.interval(level, len(values) - 1, np.mean(values), standard_error)
        assert (result.low, result.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@given(VALUES)
def test_values_that_are_nan_are_left_out_and_not_counted(values: list[float]) -> None:
    assert interval([nan, *values, nan]) == interval(values)


@each(("values", "mean", "n"), [([], nan, 0), ([nan], nan, 0), ([nan, nan], nan, 0), ([0.5, nan], 0.5, 1)])
def test_no_values_have_no_mean_and_one_value_has_no_interval(values: list[float], mean: float, n: int) -> None:
    assert tuple(interval(values)) == pytest.approx((mean, nan, nan, n), nan_ok=True)
    assert not interval(values).excludes_zero


@each(
    ("values", "excludes"),
    [([1.0, 1.1, 0.9], True), ([-1.0, -1.1, -0.9], True), ([1.0, -1.0, 0.5], False), ([2.0, 2.0], True)],
)
def test_an_interval_excludes_zero_on_either_side(values: list[float], excludes: bool) -> None:
    assert interval(values).excludes_zero is excludes


def by_definition(effect: float, power: float) -> float:
    """The least n at which a two-sided paired t test at 5 % has this power (without the wrong tail)."""
    for n in range(2, MOST_SEEDS + 1):
        bound = stats.t.ppf(0.975, n - 1)
        if stats.nct.sf(bound, n - 1, effect * sqrt(n)) >= power:
            return n
    return inf


@each("power", [0.5, 0.8, 0.95])
@each("effect", [0.17, 0.25, 0.75, 1.2, 1.7, 3.3])
def test_seeds_needed_are_the_fewest_with_this_power(effect: float, power: float) -> None:
    deviation = float(np.std([0.0, 1.0, 2.0], ddof=1))
    differences = [value + effect * deviation - 1.0 for value in (0.0, 1.0, 2.0)]
    assert seeds_needed(one_task(differences), power) == by_definition(effect, power)
    assert seeds_needed(one_task([-value for value in differences]), power) == by_definition(effect, power)


def test_seeds_needed_match_the_definition_for_few_seeds() -> None:
    """Wrong degrees of freedom show at few seeds."""
    effects = np.linspace(1.2, 4.2, 61).tolist()
    seeds = [seeds_needed(one_task([effect - 1.0, effect, effect + 1.0])) for effect in effects]
    assert seeds == [by_definition(effect, 0.8) for effect in effects]
    assert {3, 4, 5, 6, 7, 8} <= set(seeds)


def test_no_difference_needs_infinitely_many_seeds_and_a_constant_difference_two() -> None:
    assert {seeds_needed(one_task(values)) for values in ([1.0, -1.0], [0.0, 0.0], [1.0, -1.0, 0.001])} == {inf}
    assert seeds_needed(one_task([0.25, 0.25, 0.25])) == 2


def samples(seed: int, n: int, mean: float = 0.3) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    other = generator.normal(0.5, 0.2, n)
    return (other + generator.normal(mean, 1.0, n)).tolist(), other.tolist()


def differences_of(first: list[float], second: list[float]) -> Contrast:
    return one_task([a - b for a, b in zip(first, second, strict=True)])


@each("n", [2, 3, 8, 50])
@each("seed", range(3))
def test_the_paired_test_is_scipy_s(seed: int, n: int) -> None:
    first, second = samples(seed, n)
    assert difference_p(differences_of(first, second)) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-9)
    assert difference_p(differences_of(second, first)) == difference_p(differences_of(first, second))


@given(VALUES)
def test_p_is_below_5_percent_where_the_95_percent_interval_excludes_0(values: list[float]) -> None:
    p, result = difference_p(one_task(values)), interval(values)
    if abs(p - 0.05) > 1e-9 and any(values):
        assert (p < 0.05) is result.excludes_zero


@each("n", [2, 3, 8, 50])
@each("mean", [-0.4, 0.0, 2.0])
def test_the_equivalence_test_is_the_larger_of_two_one_sided_p_values(n: int, mean: float) -> None:
    first, second = samples(n, n, mean)
    differences = differences_of(first, second)
    values = [*differences.values[0].values()]
    above = stats.ttest_1samp(values, -0.7, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.7, alternative="less").pvalue
    assert equivalence_p(differences, 0.7) == pytest.approx(max(above, below), rel=1e-9)
    _, low, high, _ = difference(differences, 0.9)
    assert (equivalence_p(differences, 0.7) < 0.05) is (low > -0.7 and high < 0.7)


@each(("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.25, 0.25], 0.0), ([-0.1] * 8, 0.0)])
def test_constant_differences_are_zero_or_certain(differences: list[float], p: float) -> None:
    assert difference_p(one_task(differences)) == p
    assert equivalence_p(one_task(differences), 0.25) == 0.0
    assert equivalence_p(one_task(differences), 0.05) == (1.0 if any(differences) else 0.0)


def test_equal_differences_of_shares_are_known_to_within_an_item() -> None:
    """Three differences of 0.02 have no deviation; their error is that of one item of 1,024: t = 0.02 * 1024 * sqrt(3)."""
    three = one_task([0.02] * 3, resolution=RESOLUTION)
    t = 0.02 * 1024 * sqrt(3)
    assert standard_error(three) == pytest.approx((1 / 1024 / sqrt(3), 2))
    assert difference_p(three) == pytest.approx(2 * stats.t.sf(t, 2))
    assert difference(three).high == pytest.approx(0.02 + stats.t.ppf(0.975, 2) / 1024 / sqrt(3))
    noisy = [0.01, 0.02, 0.04]
    assert difference_p(one_task(noisy, resolution=RESOLUTION)) == difference_p(one_task(noisy))
    two_samples = one_task([0.52] * 4, [0.5] * 3, resolution=RESOLUTION)
    assert standard_error(two_samples) == pytest.approx((1 / 1024 / sqrt(3), 5))


def test_tasks_with_the_same_seeds_are_tested_as_their_means_by_seed() -> None:
    """With nothing missing the test over tasks is the t test of the means over tasks, paired or Welch's."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.1, 0.2, (3, 8)), generator.normal(0, 0.3, (3, 5))
    tasks, others = ([dict(enumerate(values)) for values in side.tolist()] for side in (first, second))
    paired, unpaired = (
        stats.ttest_1samp(first.mean(axis=0), 0),
        stats.ttest_ind(first.mean(axis=0), second.mean(axis=0), equal_var=False),
    )
    for measured, expected in ((Contrast(tasks), paired), (Contrast(tasks, others), unpaired)):
        low, high = expected.confidence_interval()
        assert difference_p(measured) == pytest.approx(expected.pvalue, rel=1e-9)
        assert difference(measured)[1:3] == pytest.approx((low, high), rel=1e-9)


def test_a_seed_that_one_task_lacks_stays_in_the_others_by_hand() -> None:
    """Task means are 2 and 6, so the estimate is 4. With a = sqrt(3 / 2) / 6 and b = sqrt(2) / 4 the influences of seeds 0,
    1, 2 on it are -a - b, b and a. Their weights are 5 / 12, 5 / 12 and 2 / 12, so that n is 54^2 / (625 + 625 + 16)."""
    measured = Contrast([{0: 1.0, 1: 2.0, 2: 3.0}, {0: 5.0, 1: 7.0}])
    a, b = sqrt(3 / 2) / 6, sqrt(2) / 4
    variance, degrees = (a + b) ** 2 + b**2 + a**2, 2916 / 1266 - 1
    assert (measured.mean, measured.n, measured.fewest) == (4.0, 3, 2)
    assert standard_error(measured) == pytest.approx((sqrt(variance), degrees))
    assert difference(measured).high == pytest.approx(4 + stats.t.ppf(0.975, degrees) * sqrt(variance))


@each(("seeds", "missing"), [(16, 0.1), (8, 0.2)])
def test_clustered_intervals_cover_the_mean_where_readings_are_missing(seeds: int, missing: float) -> None:
    """Seeds share an effect over three tasks; some readings are missing. Of 1000 intervals 95 % hold the mean."""
    generator, covered = np.random.default_rng(1), 0
    for _ in range(1000):
        values = generator.normal(0.5, 1, (3, seeds)) + generator.normal(0, 1, seeds)
        kept = generator.random((3, seeds)) > missing
        tasks = [
            {seed: float(value) for seed, value in enumerate(task) if has[seed]}
            for task, has in zip(values, kept, strict=True)
        ]
        measured = difference(Contrast(tasks))
        covered += measured.low < 0.5 < measured.high
    assert 930 <= covered <= 970


@each("differences", [[], [0.5]])
def test_fewer_than_two_differences_have_p_1(differences: list[float]) -> None:
    assert difference_p(one_task(differences)) == 1.0
    assert equivalence_p(one_task(differences), 1.0) == 1.0


def test_holm_by_hand() -> None:
    """Sorted, the p-values 0.01 to 0.04 times 4, 3, 2, 1 are 0.04, 0.06, 0.06, 0.04; they must not decrease."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.001, 0.6]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_values_and_bonferroni_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, adjusted_p in zip(p_values, adjusted, strict=True):
        assert p <= adjusted_p <= min(1.0, len(p_values) * p)
    assert sorted(adjusted) == [adjusted_p for _, adjusted_p in sorted(zip(p_values, adjusted, strict=True))]
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))


@each(("n", "effect"), [(3, 3.3), (5, 1.7), (8, 1.2), (16, 0.75)])
def test_detectable_differences_are_those_of_the_design(n: int, effect: float) -> None:
    error, freedom = 1 / sqrt(n), n - 1
    assert detectable(error, freedom) == pytest.approx(effect, rel=0.05)
    assert detectable(0.2 * error, freedom) == pytest.approx(0.2 * detectable(error, freedom))


@each("power", [0.5, 0.8, 0.95])
@each("n", [2, 3, 8, 100])
def test_a_detectable_difference_has_the_power(n: int, power: float) -> None:
    shift = detectable(0.3 / sqrt(n), n - 1, power) * sqrt(n) / 0.3
    assert stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift) == pytest.approx(power, abs=1e-5)


def test_one_seed_detects_nothing_and_no_deviation_detects_everything() -> None:
    assert detectable(0.1, 0) == inf
    assert detectable(0.0, 2) == 0.0


@each("mean", [0.0, 0.02])
def test_seeds_for_equivalence_have_the_power_in_a_simulation(mean: float) -> None:
    """Simulates differences of this mean and deviation and applies `equivalence_p`."""
    unit = np.array([-1.0, 1.0]) / sqrt(2)  # deviation 1
    needed = seeds_for_equivalence(one_task((mean + 0.06 * unit).tolist()), 0.05)
    samples_of_seeds = np.random.default_rng(0).normal(mean, 0.06, size=(2000, int(needed)))
    significant = [equivalence_p(one_task(sample.tolist()), 0.05) <= 0.05 for sample in samples_of_seeds]
    assert 0.77 <= float(np.mean(significant)) <= 0.87


@each("mean", [0.0, 0.01, -0.02])
def test_seeds_for_equivalence_are_the_fewest_with_80_percent_power(mean: float) -> None:
    differences = (mean + 0.06 * np.array([-1.0, 1.0]) / sqrt(2)).tolist()  # deviation .06

    def passed(distance: float, n: int, level: float) -> float:
        return float(stats.nct.sf(stats.t.ppf(level, n - 1), n - 1, distance * sqrt(n) / 0.06))

    needed = int(seeds_for_equivalence(one_task(differences), 0.05))
    powers = [passed(0.05 - mean, n, 0.95) + passed(0.05 + mean, n, 0.95) - 1 for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]


def test_a_large_difference_needs_infinitely_many_seeds_for_equivalence() -> None:
    assert seeds_for_equivalence(one_task([0.1, 0.12, 0.09]), 0.05) == inf
    assert seeds_for_equivalence(one_task([0.0, 0.0, 0.0]), 0.05) == 2


# statsmodels 0.15.0: TTestPower().solve_power(effect_size=d, nobs=None, alpha=0.05, power=0.8), and for nobs=n the effect.
SEEDS = {0.3: 89.14936472, 0.5: 33.36713118, 0.8: 14.30276456, 1.2: 7.587723817, 2.0: 4.220718585}
EFFECTS = {3: 3.264043553, 5: 1.681997083, 10: 0.9960019108, 20: 0.6604416544}


def test_power_matches_statsmodels() -> None:
    for effect, seeds in SEEDS.items():
        assert seeds_needed(one_task([effect - 1.0, effect, effect + 1.0])) == ceil(seeds)
    for n, effect in EFFECTS.items():
        assert detectable(1 / sqrt(n), n - 1) == pytest.approx(effect, rel=1e-4)
