"""The test by flipped signs against a count of all combinations, and its interval against its own test."""

from __future__ import annotations

from itertools import product
from math import inf

import numpy as np
import pytest
from scipy import stats

from synthbench.analysis import sign_flip
from synthbench.analysis.contrast import Contrast
from synthbench.analysis.sign_flip import flipped
from synthbench.analysis.statistics import difference, difference_p
from synthbench.analysis.verdict import verdict
from tests.each import each

SHARES = np.array([-0.5, -1 / 6, 1 / 6, 0.5])  # less one half, of three pairs


def drawn(seeds: int, strata: int = 1, missing: float = 0.0) -> Contrast:
    generator = np.random.default_rng(seeds)
    values = generator.choice(SHARES, (strata, seeds), p=[0.1, 0.2, 0.3, 0.4]) + 0.01 * generator.normal(size=seeds)
    kept = generator.random((strata, seeds)) >= missing
    return Contrast([{seed: float(row[seed]) for seed in range(seeds) if has[seed]}
                     for row, has in zip(values, kept, strict=True)], is_flipped=True)  # fmt: skip


def counted(contrast: Contrast, mean: float) -> float:
    """The p-value that the mean over strata is this one, by counting."""
    seeds = sorted({seed for stratum in contrast.values for seed in stratum})
    strata = contrast.values
    parts = [
        sum((stratum[seed] - mean) / (len(strata) * len(stratum)) for stratum in strata if seed in stratum)
        for seed in seeds
    ]
    sums = [abs(float(np.dot(signs, parts))) for signs in product((1, -1), repeat=len(parts))]
    return float(np.mean([moved >= abs(sum(parts)) - 1e-9 for moved in sums]))


@each(("seeds", "strata", "missing"), [(6, 1, 0.0), (8, 1, 0.0), (8, 3, 0.2), (10, 2, 0.1)])
def test_the_p_value_and_the_interval_are_those_of_counting(seeds: int, strata: int, missing: float) -> None:
    contrast = drawn(seeds, strata, missing)
    test = flipped(contrast)
    assert test.p == pytest.approx(counted(contrast, 0.0))
    for inside, outside in ((test.low + 1e-6, test.low - 1e-6), (test.high - 1e-6, test.high + 1e-6)):
        assert counted(contrast, inside) >= 0.05 > counted(contrast, outside)


def test_it_is_scipy_s_permutation_test_of_one_sample() -> None:
    values = [*drawn(9).values[0].values()]
    expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert flipped(drawn(9)).p == pytest.approx(expected.pvalue)


def test_eight_seeds_that_agree_give_2_of_256() -> None:
    contrast = Contrast([dict.fromkeys(range(8), 0.5)], is_flipped=True)
    assert difference_p(contrast) == 2 / 256
    assert difference(contrast) == (0.5, 0.5, 0.5, 8)
    assert verdict(contrast, None).kind == "higher"


def test_five_seeds_cannot_decide_at_5_percent() -> None:
    test = flipped(Contrast([dict.fromkeys(range(5), 0.5)], is_flipped=True))
    assert test == (2 / 32, -inf, inf)


def test_many_seeds_have_a_part_of_the_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = flipped(drawn(14))
    monkeypatch.setattr(sign_flip, "MOST_EXACT", 4)
    assert flipped(drawn(14)).p == pytest.approx(exact.p, abs=0.01)
    assert flipped(drawn(14))[1:] == pytest.approx(exact[1:], abs=0.02)
    assert flipped(drawn(40)) == flipped(drawn(40))
