"""Measures beside scores (norms and stable ranks by hand, first losses); seeds that diverge or lack a value."""

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


def test_the_stable_rank_of_a_projection_is_its_rank_and_of_zero_is_0() -> None:
    assert stable_ranks(np.diag([2.0, 2.0, 0.0])) == [2.0]
    assert stable_ranks(np.outer([1.0, 2.0], [3.0, 4.0])) == [pytest.approx(1.0)]
    assert stable_ranks(np.diag([2.0, 1.0])) == [1.25]
    assert stable_ranks(np.zeros((2, 3, 3))) == [0.0, 0.0]


def test_norms_are_of_weights_and_ranks_of_changes_by_group() -> None:
    before = {"layers.0.out": np.eye(2), "embedding": np.zeros((3, 2))}
    after = {"layers.0.out": np.eye(2) + np.outer([1.0, 0.0], [3.0, 4.0]), "embedding": np.full((3, 2), 2.0)}
    values = measures(before, after, MODEL)
    assert values["weight_norm.hidden"] == pytest.approx(np.sqrt(4**2 + 4**2 + 1))
    assert values["update_rank.hidden"] == pytest.approx(1.0)
    assert values["weight_norm.embedding"] == pytest.approx(np.sqrt(24))
    # Stacked and several matrices are averaged; adapters are separate groups.
    stacked = np.stack([np.eye(2), np.diag([1.0, 0.0]), np.diag([1.0, 0.0])])
    values = measures({}, {"layers.0.qkv": stacked, "layers.0.out": np.eye(2)}, MODEL)
    assert values["update_rank.hidden"] == pytest.approx((2 + 1 + 1 + 2) / 4)
    adapters = {"layers.0.out.A": np.ones((1, 2)), "layers.0.out.B": np.zeros((2, 1))}
    values = measures({"layers.0.out": np.eye(2)}, adapters, MODEL)
    norms = {"weight_norm.A": np.sqrt(2), "weight_norm.B": 0}
    assert values == pytest.approx(norms | {"update_rank.A": 1, "update_rank.B": 0})


def test_the_first_losses_are_a_quarter_of_the_curve() -> None:
    assert early([4.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]) == 3.0
    assert early([5.0, 1.0]) == 5.0


def test_noise_is_the_root_mean_square_over_all_halvings() -> None:
    values = [0.0, 1.0, 5.0, 2.0, 2.5, 7.0]
    differences = [np.mean(half) - np.mean([v for v in values if v not in half]) for half in combinations(values, 3)]
    assert noise(values) == pytest.approx(np.sqrt(np.mean(np.square(differences))))
    assert noise([1.0]) == 0.0


def test_losses_diverge_at_the_first_difference_of_a_tenth() -> None:
    before, after = (
        described({}, {}, {"pretrain/full": [4.0, 3.0, last, 1.0], "finetune/full": [9.0 * last]})
        for last in (2.0, 2.3)
    )
    assert comparison.divergence(before, before) is None
    message = str(comparison.divergence(before, after))
    assert [word for word in ("50 %", "pretrain/full", "2 before", "2.3 after") if word not in message] == []


def test_undefined_values_are_recorded_and_the_other_seeds_decide() -> None:
    values = {"finetune/full": {"learning": dict.fromkeys(range(8), 0.5), "retention": dict.fromkeys(range(2, 8), 0.5)}}
    behaviour = described(values, {"finetune/full": [8]}, {})
    assert behaviour.undefined == {"finetune/full": {"retention": [0, 1]}}
    assert comparison.overall(comparison.behaviour(behaviour, behaviour, range(9))) == "unchanged"


def test_seeds_outside_the_budget_are_ignored(recorded: Baseline) -> None:
    behaviour = recorded.behaviour
    values = {
        cell: {name: {s: v for s, v in by_seed.items() if s != 5} for name, by_seed in scores.items()}
        for cell, scores in behaviour.values.items()
    }
    before = described(values, {cell: [5] for cell in values}, behaviour.curves)
    after = before.model_copy(update={"diverged": {cell: [] for cell in values}})
    for seeds, verdict in ((5, "unchanged"), (6, "inconclusive")):
        lines = comparison.behaviour(before, after, range(seeds))
        assert {line.verdict for line in lines if line.what == "diverged"} == {verdict}


def test_a_score_that_many_seeds_lack_is_inconclusive() -> None:
    before, *after = (
        described({"full": {"learning": dict.fromkeys(range(lost, 16), 0.5)}}, {"full": []}, {}) for lost in (0, 2, 3)
    )
    verdicts = [comparison.overall(comparison.behaviour(before, results, range(16))) for results in after]
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
