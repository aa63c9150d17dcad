"""Bits stored: the most that a code saves by the model's belief, given up in part to be ready for what it does not know."""

from __future__ import annotations

from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.scores import at_point
from synthbench.scores.capacity import bits
from tests.each import each
from tests.scores.seen import point, seen

H = 15 * log(2)  # nats: three of 32 syllables
losses = st.lists(st.floats(0, 60), min_size=1, max_size=12).map(np.array)


def by_trying(nll_N: np.ndarray, entropy_N: np.ndarray) -> float:
    """The best of many values of e, close together near both ends."""
    near_0 = np.geomspace(1e-15, 0.5, 20_000)
    e_E = np.concatenate([near_0, 1 - near_0, [0.0, 1.0]])
    with np.errstate(divide="ignore"):
        return float(np.log2(e_E[:, None] + (1 - e_E[:, None]) * np.exp(entropy_N - nll_N)).sum(1).max())


def full(value: float, count: int) -> np.ndarray:
    return np.full(count, value)


@each("count", [1, 2, 100])
@each("nll", [0.0, 0.1, 3.0])
def test_where_every_fact_is_known_it_is_the_entropy_less_the_loss(count: int, nll: float) -> None:
    # e = 0 is best: sum of H - NLL; 100 facts without loss are 1500 bits
    assert bits(full(nll, count), full(H, count)) == pytest.approx(count * (H - nll) / log(2))


@each("nll", [H, H + 0.1, 50.0, 1e4])
def test_where_no_fact_is_known_it_is_nothing(nll: float) -> None:
    assert bits(full(nll, 10), full(H, 10)) == pytest.approx(0, abs=1e-9)  # e = 1


def test_where_half_is_known_it_is_the_best_share_of_belief_given_up() -> None:
    # 4 facts known for sure (gain 2^15), 4 believed impossible (gain 0): 4 log2(e + (1 - e) 2^15) + 4 log2 e is greatest
    # where 1 / e = (2^15 - 1) / (e + (1 - e) 2^15), that is at e = 2^14 / (2^15 - 1), about a half
    e = 2**14 / (2**15 - 1)
    by_hand = 4 * log2(e + (1 - e) * 2**15) + 4 * log2(e)
    nll_N = np.array([0.0] * 4 + [200.0] * 4)
    assert bits(nll_N, full(H, 8)) == pytest.approx(by_hand, rel=1e-9)
    assert by_hand == pytest.approx(4 * 15 - 4 - 4, rel=1e-3)  # each fact, known or not, costs about the bit of a half
    assert bits(nll_N, full(H, 8)) == pytest.approx(by_trying(nll_N, full(H, 8)), rel=1e-6)


def test_one_wrong_fact_among_many_known_costs_no_more_than_its_part() -> None:
    """A model that is sure and wrong once keeps what it knows: at e = 0 this would be hundreds of bits below nothing."""
    nll_N = np.array([0.0] * 99 + [500.0])
    assert 99 * 15 - 12 < bits(nll_N, full(H, 100)) < 99 * 15


@given(losses)
@settings(max_examples=30)
def test_it_is_the_most_that_any_share_gives(nll_N: np.ndarray) -> None:
    entropy_N = full(H, len(nll_N))
    assert bits(nll_N, entropy_N) == pytest.approx(by_trying(nll_N, entropy_N), rel=1e-5, abs=1e-5)


def test_bits_are_counted_by_the_parameter_and_so_are_the_datasets() -> None:
    # two facts of 15 bits, one known but for a bit, one for sure, over 100 parameters
    scores = at_point(point({}), point({"new/fact/train": seen("++", nll=[log(2), 0], entropy=H)}, parameters=100))
    assert scores["bits_per_param"] == pytest.approx((14 + 15) / 100)
    assert scores["dataset_bits_per_param"] == pytest.approx(30 / 100)


@each("odd", [np.nan, np.inf])
def test_losses_that_are_no_numbers_have_no_bits(odd: float) -> None:
    scores = at_point(point({}), point({"new/fact/train": seen("++", nll=[odd, 0], entropy=H)}, parameters=100))
    assert "bits_per_param" not in scores


def test_only_trained_facts_count() -> None:
    scores = at_point(point({}), point({"new/rule/train": seen("++", nll=0, entropy=H)}, parameters=100))
    assert not {"bits_per_param", "dataset_bits_per_param"} & scores.keys()
    assert "bits_per_param" not in at_point(point({}), point({"new/fact/train": seen("++")}))  # parameters unknown
