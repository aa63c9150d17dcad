"""The simulation behind reports/contrasts.md: of every kind of claim few false ones are supported, and most true ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from docs import contrasts
from docs.contrasts import TRUTHS, Truth
from tests.each import each

SEEDS, TRIALS = 12, 60
MOST_FALSE = int(
    binom.ppf(0.9999, TRIALS, 0.05)
)  # of all kinds together a test fails by chance once in a thousand times
LEAST_FOUND = 0.5  # of effects of contrasts.EFFECT


@each("truth", TRUTHS)
def test_false_claims_are_rarely_supported_and_true_ones_mostly(truth: Truth) -> None:
    found = contrasts.rates(truth, SEEDS, TRIALS)
    assert found.false * found.measured <= MOST_FALSE, truth.name
    assert found.found >= LEAST_FOUND, truth.name
    assert found.measured >= 0.8 * TRIALS, truth.name


def test_rates_are_of_the_trials_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 trials 20 have none. Of 80 at most 7.6 % is the 95 % limit of 2."""
    counted = {
        False: Counter({"supported": 1, "opposite": 1, "inconclusive": 78, "not measured": 20}),
        True: Counter({"supported": 60, "inconclusive": 20, "not measured": 20}),
    }
    monkeypatch.setattr(contrasts, "kinds", lambda truth, seeds, trials, *, is_true: counted[is_true])
    found = contrasts.rates(TRUTHS[0], 8, 100)
    assert found == (80, 2 / 80, pytest.approx(0.0765, abs=1e-3), 60 / 80)
    assert contrasts.rates(TRUTHS[0]._replace(is_directed=True), 8, 100).false == 1 / 80


def test_rows_have_their_truth_and_miss_a_tenth_of_the_readings() -> None:
    truth = TRUTHS[1]
    rows = contrasts.rows(truth, truth.true, 20_000, np.random.default_rng(0))
    muon, adamw = (row.values[contrasts.SCORE] for row in rows[:2])
    assert len(muon) / 20_000 == pytest.approx(1 - contrasts.MISSING, abs=0.01)
    differences = [muon[seed] - adamw[seed] for seed in muon.keys() & adamw.keys()]
    assert np.mean(differences) == pytest.approx(contrasts.EFFECT, abs=0.002)
    assert np.std(differences) == pytest.approx(2**0.5 * contrasts.NOISE, rel=0.02)  # both have the seed's effect
    assert {value for row in rows[4:] for value in row.values[contrasts.SCORE].values()} == {contrasts.BOUND}
