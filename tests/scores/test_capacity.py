"""Stored bits: the maximum that a code saves, over all shares of probability reserved for unknown facts."""

from __future__ import annotations

from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.scores import at_point
from synthbench.scores.capacity import bits
from tests.each import each
from tests.scores.example_observations import observed, point

H = 15 * log(2)  # nats: three of 32 syllables
losses = st.lists(st.floats(0, 60), min_size=1, max_size=12).map(np.array)


def by_search(nll_N: np.ndarray, entropy_N: np.ndarray) -> float:
    """The maximum over many values of e, dense near both ends."""
    near_0 = np.geomspace(1e-15, 0.5, 20_000)
    e_E = np.concatenate([near_0, 1 - near_0, [0.0, 1.0]])
    with np.errstate(divide="ignore"):
        return float(np.log2(e_E[:, None] + (1 - e_E[:, None]) * np.exp(entropy_N - nll_N)).sum(1).max())


def constant(value: float, count: int) -> np.ndarray:
    return np.full(count, value)


@each("count", [1, 2, 100])
@each("nll", [0.0, 0.1, 3.0])
def test_if_every_fact_is_known_bits_are_entropy_minus_loss(count: int, nll: float) -> None:
    # e = 0 is optimal: the sum of H - NLL; 100 facts without loss are 1500 bits
    assert bits(constant(nll, count), constant(H, count)) == pytest.approx(count * (H - nll) / log(2))


@each("nll", [H, H + 0.1, 50.0, 1e4])
def test_if_no_fact_is_known_bits_are_zero(nll: float) -> None:
    assert bits(constant(nll, 10), constant(H, 10)) == pytest.approx(0, abs=1e-9)  # e = 1


def test_if_half_is_known_bits_are_those_of_the_best_share() -> None:
    # 4 facts of probability 1 (gain 2^15), 4 of probability 0 (gain 0): 4 log2(e + (1 - e) 2^15) + 4 log2 e is maximal
    # where 1 / e = (2^15 - 1) / (e + (1 - e) 2^15): at e = 2^14 / (2^15 - 1), about 1/2
    e = 2**14 / (2**15 - 1)
    by_hand = 4 * log2(e + (1 - e) * 2**15) + 4 * log2(e)
    nll_N = np.array([0.0] * 4 + [200.0] * 4)
    assert bits(nll_N, constant(H, 8)) == pytest.approx(by_hand, rel=1e-9)
    assert by_hand == pytest.approx(4 * 15 - 4 - 4, rel=1e-3)  # each fact costs about one bit, -log2(1/2)
    assert bits(nll_N, constant(H, 8)) == pytest.approx(by_search(nll_N, constant(H, 8)), rel=1e-6)


def test_one_wrong_fact_costs_a_bounded_number_of_bits() -> None:
    """Bits stay close to those of the known facts. At e = 0 they would be negative by hundreds."""
    nll_N = np.array([0.0] * 99 + [500.0])
    assert 99 * 15 - 12 < bits(nll_N, constant(H, 100)) < 99 * 15


@given(losses)
@settings(max_examples=30)
def test_bits_are_the_maximum_over_all_shares(nll_N: np.ndarray) -> None:
    entropy_N = constant(H, len(nll_N))
    assert bits(nll_N, entropy_N) == pytest.approx(by_search(nll_N, entropy_N), rel=1e-5, abs=1e-5)


def test_bits_are_divided_by_the_number_of_parameters() -> None:
    # two facts of 15 bits over 100 parameters: 14 bits of one are known, and all of the other
    scores = at_point(point({}), point({"new/fact/train": observed("++", nll=[log(2), 0], entropy=H)}, parameters=100))
    assert scores["bits_per_param"] == pytest.approx((14 + 15) / 100)
    assert scores["dataset_bits_per_param"] == pytest.approx(30 / 100)


@each("value", [np.nan, np.inf])
def test_losses_that_are_not_finite_have_no_bits(value: float) -> None:
    scores = at_point(point({}), point({"new/fact/train": observed("++", nll=[value, 0], entropy=H)}, parameters=100))
    assert "bits_per_param" not in scores


def test_only_trained_facts_count() -> None:
    scores = at_point(point({}), point({"new/rule/train": observed("++", nll=0, entropy=H)}, parameters=100))
    assert not {"bits_per_param", "dataset_bits_per_param"} & scores.keys()


def test_bits_per_parameter_need_the_number_of_parameters() -> None:
    assert "bits_per_param" not in at_point(point({}), point({"new/fact/train": observed("++")}))
