"""Contrasts of two samples that are not paired: Welch's t, against scipy, statsmodels and a case computed by hand."""

from __future__ import annotations

from math import ceil, inf, isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from synthbench.analysis.contrast import Contrast, one_task
from synthbench.analysis.statistics import (
    detectable,
    difference,
    difference_p,
    equivalence_p,
    seeds_for_equivalence,
    seeds_needed,
    standard_error,
)
from tests.each import each

SIZES = [(2, 2), (3, 3), (8, 3), (3, 32)]


def samples(sizes: tuple[int, int], mean: float = 0.3, deviation: float = 3.0) -> Contrast:
    """Values of these numbers, the first around a mean with a deviation, the others around 0 with deviation 1."""
    generator = np.random.default_rng(sizes)
    first, second = (generator.standard_normal(n) for n in sizes)
    return one_task((mean + deviation * first).tolist(), second.tolist())


def both(contrast: Contrast) -> list[list[float]]:
    return [[*task.values()] for (task,) in contrast.samples]


def test_the_standard_error_and_degrees_of_freedom_by_hand() -> None:
    """Variances 1 and 2 of 3 and 2 values: the squared errors of the means are 1/3 and 1, and
    (4/3)^2 / ((1/3)^2 / 2 + 1^2 / 1) is 32/19."""
    contrast = one_task([1.0, 2.0, 3.0], [2.0, 4.0])
    assert (contrast.mean, contrast.n, contrast.is_paired) == (-1.0, 2, False)
    assert standard_error(contrast) == pytest.approx((sqrt(4 / 3), 32 / 19))
    assert standard_error(one_task([1.0, 2.0, 3.0])) == (pytest.approx(1 / sqrt(3)), 2)


@each("sizes", SIZES)
def test_the_interval_and_the_test_are_scipy_s(sizes: tuple[int, int]) -> None:
    contrast = samples(sizes)
    expected = stats.ttest_ind(*both(contrast), equal_var=False)
    low, high = expected.confidence_interval()
    first, second = both(contrast)
    mean = np.mean(first) - np.mean(second)
    assert difference(contrast) == pytest.approx((mean, low, high, min(sizes)), rel=1e-9)
    assert difference_p(contrast) == pytest.approx(expected.pvalue, rel=1e-9)
    assert difference_p(one_task(second, first)) == difference_p(contrast)


@each("sizes", SIZES)
@each("mean", [-0.4, 0.0, 2.0])
def test_the_equivalence_test_is_the_larger_of_two_one_sided_p_values(sizes: tuple[int, int], mean: float) -> None:
    contrast = samples(sizes, mean)
    first, second = both(contrast)
    shifted = (np.array(first) + shift for shift in (0.7, -0.7))
    one_sided = [
        stats.ttest_ind(values, second, equal_var=False, alternative=side).pvalue
        for values, side in zip(shifted, ("greater", "less"), strict=True)
    ]
    assert equivalence_p(contrast, 0.7) == pytest.approx(max(one_sided), rel=1e-9)


# statsmodels 0.15.0: ttost_ind(first, second, -0.05, 0.05, usevar="unequal")[0], and
# TTestIndPower().solve_power(effect_size=d, nobs1=None, alpha=0.05, power=0.8), and for nobs1=n the effect.
FIRST, SECOND, EQUIVALENCE = [0.51, 0.48, 0.55, 0.50, 0.47], [0.49, 0.52, 0.50, 0.46, 0.53, 0.48, 0.51], 0.0127977046
SEEDS = {0.3: 175.3846695, 0.5: 63.76561059, 0.8: 25.52457185, 1.2: 11.94225768, 2.0: 5.089994568}
EFFECTS = {3: 3.070892270, 5: 2.024440146, 10: 1.324947368, 20: 0.9091290410}


def test_equivalence_and_power_match_statsmodels() -> None:
    assert equivalence_p(one_task(FIRST, SECOND), 0.05) == pytest.approx(EQUIVALENCE, rel=1e-8)
    for effect, seeds in SEEDS.items():
        assert seeds_needed(one_task([effect - 1.0, effect, effect + 1.0], [-1.0, 0.0, 1.0])) == ceil(seeds)
    for n, effect in EFFECTS.items():
        values = np.random.default_rng(n).standard_normal(n)
        contrast = one_task(*[((values - values.mean()) / values.std(ddof=1)).tolist()] * 2)
        assert detectable(*standard_error(contrast)) == pytest.approx(effect, rel=1e-4)


def repeated(sizes: int, means: tuple[float, float], deviations: tuple[float, float]) -> list[Contrast]:
    """Many contrasts of samples of one size, from these distributions."""
    generator = np.random.default_rng(0)
    first, second = (
        generator.normal(mean, deviation, (2000, sizes)) for mean, deviation in zip(means, deviations, strict=True)
    )
    return [one_task(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]


UNIT = np.array([-1.0, 1.0]) / sqrt(2)  # deviation 1


def test_the_seeds_have_the_power_in_a_simulation_with_unequal_deviations() -> None:
    one = one_task((0.1 + 0.09 * UNIT).tolist(), (0.03 * UNIT).tolist())
    found = [difference_p(contrast) < 0.05 for contrast in repeated(int(seeds_needed(one)), (0.1, 0.0), (0.09, 0.03))]
    assert 0.77 <= float(np.mean(found)) <= 0.87


def test_the_seeds_for_equivalence_have_the_power_in_a_simulation_with_unequal_deviations() -> None:
    one = one_task((0.01 + 0.09 * UNIT).tolist(), (0.03 * UNIT).tolist())
    n = int(seeds_for_equivalence(one, 0.05))
    shown = [equivalence_p(contrast, 0.05) <= 0.05 for contrast in repeated(n, (0.01, 0.0), (0.09, 0.03))]
    assert 0.77 <= float(np.mean(shown)) <= 0.87


def test_independent_samples_of_one_distribution_differ_in_one_case_of_twenty() -> None:
    p_values = [difference_p(contrast) for contrast in repeated(8, (0.0, 0.0), (1.0, 3.0))]
    assert 0.035 <= float(np.mean([p < 0.05 for p in p_values])) <= 0.065


@each("contrast", [one_task([], []), one_task([0.5], []), one_task([], [0.5, 0.6]), one_task([0.5], [0.4, 0.6])])
def test_fewer_than_two_seeds_on_a_side_decide_nothing(contrast: Contrast) -> None:
    result = difference(contrast)
    assert (isnan(result.mean), isnan(result.low), result.n) == (not contrast.n, True, contrast.n)
    assert difference_p(contrast) == equivalence_p(contrast, 1.0) == 1.0


def test_values_that_do_not_vary_are_the_same_or_certain_to_differ() -> None:
    same, other = one_task([0.5, 0.5], [0.5, 0.5, 0.5]), one_task([0.75, 0.75], [0.5, 0.5, 0.5])
    assert (same.is_nothing, other.is_nothing) == (True, False)
    assert (difference_p(same), difference_p(other)) == (1.0, 0.0)
    assert tuple(difference(other)) == (0.25, 0.25, 0.25, 2)
    assert (seeds_needed(same), seeds_needed(other)) == (inf, 2)
