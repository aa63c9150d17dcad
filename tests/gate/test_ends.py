"""What runs leave beside scores: norms and stable ranks by hand, first losses; seeds that diverge or lose a value."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from synthbench.analysis.change_test import noise
from synthbench.cards import ModelCard
from synthbench.gate import comparison
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import described, early, measures, stable_ranks
from tests.each import each

MODEL = ModelCard(layers=1, width=2, head_width=2)


def test_the_stable_rank_of_a_projection_is_its_rank_and_of_nothing_0() -> None:
    assert stable_ranks(np.diag([2.0, 2.0, 0.0])) == [2.0]
    assert stable_ranks(np.outer([1.0, 2.0], [3.0, 4.0])) == [pytest.approx(1.0)]
    assert stable_ranks(np.diag([2.0, 1.0])) == [1.25]
    assert stable_ranks(np.zeros((2, 3, 3))) == [0.0, 0.0]


def test_norms_are_of_weights_and_ranks_of_changes_by_group() -> None:
    before = {"layers.0.out": np.eye(2), "embedding": np.zeros((3, 2))}
    after = {"layers.0.out": np.eye(2) + np.outer([1.0, 0.0], [3.0, 4.0]), "embedding": np.full((3, 2), 2.0)}
    found = measures(before, after, MODEL)
    assert found["weight_norm.hidden"] == pytest.approx(np.sqrt(4**2 + 4**2 + 1))
    assert found["update_rank.hidden"] == pytest.approx(1.0)
    assert found["weight_norm.embedding"] == pytest.approx(np.sqrt(24))
    # Of stacked matrices and of several the mean is taken, and adapters are groups of their own.
    stacked = np.stack([np.eye(2), np.diag([1.0, 0.0]), np.diag([1.0, 0.0])])
    found = measures({}, {"layers.0.qkv": stacked, "layers.0.out": np.eye(2)}, MODEL)
    assert found["update_rank.hidden"] == pytest.approx((2 + 1 + 1 + 2) / 4)
    adapters = {"layers.0.out.A": np.ones((1, 2)), "layers.0.out.B": np.zeros((2, 1))}
    found = measures({"layers.0.out": np.eye(2)}, adapters, MODEL)
    norms = {"weight_norm.A": np.sqrt(2), "weight_norm.B": 0}
    assert found == pytest.approx(norms | {"update_rank.A": 1, "update_rank.B": 0})


def test_the_first_losses_are_a_quarter_of_the_curve() -> None:
    assert early([4.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]) == 3.0
    assert early([5.0, 1.0]) == 5.0


def test_noise_is_the_root_mean_square_over_all_ways_of_halving() -> None:
    values = [0.0, 1.0, 5.0, 2.0, 2.5, 7.0]
    apart = [np.mean(half) - np.mean([v for v in values if v not in half]) for half in combinations(values, 3)]
    assert noise(values) == pytest.approx(np.sqrt(np.mean(np.square(apart))))
    assert noise([1.0]) == 0.0


def test_losses_part_where_they_first_do_by_a_tenth() -> None:
    one, other = (
        described({}, {}, {"pretrain/full": [4.0, 3.0, last, 1.0], "finetune/full": [9.0 * last]})
        for last in (2.0, 2.3)
    )
    assert comparison.divergence(one, one) is None
    said = str(comparison.divergence(one, other))
    assert [word for word in ("50 %", "pretrain/full", "2 before", "2.3 after") if word not in said] == []


def test_a_score_that_a_seed_does_not_define_is_noted_and_the_others_decide() -> None:
    values = {"finetune/full": {"learning": dict.fromkeys(range(8), 0.5), "retention": dict.fromkeys(range(2, 8), 0.5)}}
    found = described(values, {"finetune/full": [8]}, {})
    assert found.undefined == {"finetune/full": {"retention": [0, 1]}}
    assert comparison.overall(comparison.behaviour(found, found, range(9))) == "unchanged"


def test_a_seed_that_a_budget_leaves_out_is_not_missed(recorded: Baseline) -> None:
    seen = recorded.behaviour
    values = {
        where: {name: {s: v for s, v in by_seed.items() if s != 5} for name, by_seed in own.items()}
        for where, own in seen.values.items()
    }
    before = described(values, {where: [5] for where in values}, seen.curves)
    after = before.model_copy(update={"diverged": {where: [] for where in values}})
    for seeds, verdict in ((5, "unchanged"), (6, "inconclusive")):
        lines = comparison.behaviour(before, after, range(seeds))
        assert {line.verdict for line in lines if line.what == "diverged"} == {verdict}


def test_a_score_that_many_seeds_lose_is_not_unchanged() -> None:
    before, *after = (
        described({"full": {"learning": dict.fromkeys(range(lost, 16), 0.5)}}, {"full": []}, {}) for lost in (0, 2, 3)
    )
    verdicts = [comparison.overall(comparison.behaviour(before, one, range(16))) for one in after]
    assert verdicts == ["unchanged", "inconclusive"]


@each(
    ("before", "after", "seeds", "verdict"),
    [
        ([], [], 16, "unchanged"), ([3], [3], 16, "unchanged"), ([], [1], 16, "inconclusive"),
        ([], range(6), 16, "changed"), ([], range(5), 5, "changed"), ([], range(4), 5, "inconclusive"),
    ],
)  # fmt: skip
def test_seeds_that_diverge_are_counted(before: list[int], after: list[int], seeds: int, verdict: str) -> None:
    assert comparison.diverged("full", before, after, seeds).verdict == verdict
