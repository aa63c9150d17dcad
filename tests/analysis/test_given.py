"""A contrast at equal values of another score, against analysis of covariance by least squares and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from synthbench.analysis.given import at_equal, contrast, within_slope
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import difference
from tests.analysis.example_rows import row

SCORE, COVARIATE = "forgetting", "kl_new"


def of(value_N: np.ndarray, covariate_N: np.ndarray) -> Row:
    values = {name: dict(enumerate(map(float, of_N))) for name, of_N in ((SCORE, value_N), (COVARIATE, covariate_N))}
    return row("muon", seeds=len(value_N)).model_copy(update={"values": values})


def test_the_slope_is_that_within_rows_not_between_them() -> None:
    """Within both rows the value rises by 2 for each unit; the second row lies lower although its covariate is larger."""
    first, second = {0: (1.0, 0.0), 1: (3.0, 1.0)}, {0: (0.0, 10.0), 1: (2.0, 11.0)}
    assert within_slope([first, second]) == 2
    assert within_slope([{0: (1.0, 5.0), 1: (2.0, 5.0)}]) == 0
    assert at_equal([(first, second)]) == (2 - 1) - 2 * (0.5 - 10.5)


def test_a_difference_is_that_of_analysis_of_covariance_by_least_squares() -> None:
    generator = np.random.default_rng(0)
    covariate_RN = generator.normal(size=(2, 12)) + np.array([[0.0], [1.0]])
    value_RN = 0.7 * covariate_RN + np.array([[0.0], [1.0]]) + generator.normal(size=(2, 12)) / 5
    design = np.concatenate([np.kron(np.eye(2), np.ones((12, 1))), covariate_RN.reshape(-1, 1)], axis=1)
    effects = np.linalg.lstsq(design, value_RN.reshape(-1), rcond=None)[0]
    rows = [of(*pair) for pair in zip(value_RN, covariate_RN, strict=True)]
    whole = at_equal([tuple({seed: (one.values[SCORE][seed], one.values[COVARIATE][seed]) for seed in one.seeds}
                            for one in rows)])  # fmt: skip
    assert whole == pytest.approx(effects[0] - effects[1])
    assert contrast([Pair(*rows)], SCORE, COVARIATE).mean == pytest.approx(whole, abs=0.05)  # less its bias


def test_the_error_of_the_slope_counts() -> None:
    """The rows differ by 20 deviations in the covariate, and in the score by nothing else: a false alarm in twenty."""
    generator, alarms = np.random.default_rng(1), 0
    for _ in range(400):
        covariate_RN = generator.normal(size=(2, 12)) + np.array([[0.0], [20.0]])
        value_RN = 0.1 * covariate_RN + generator.normal(size=(2, 12))
        pair = Pair(*(of(*one) for one in zip(value_RN, covariate_RN, strict=True)))
        alarms += difference(contrast([pair], SCORE, COVARIATE)).excludes_zero
    assert alarms / 400 < 0.09


def test_without_seeds_there_is_nothing_to_estimate() -> None:
    pair = Pair(of(np.ones(2), np.arange(2)), of(np.zeros(2), np.arange(2)))
    assert contrast([pair], SCORE, COVARIATE).n == 0
