"""Rank correlations over rows by seed, beside scipy's, and their page's selections of rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from docs.mechanisms import replaced, unsalted
from docs.predictors import correlations, partial_correlation, ranked, table
from synthbench.analysis.rows import Row
from tests.analysis.example_rows import row


def rows(*columns: dict[str, list[float]]) -> list[Row]:
    """One row for each dictionary: by score its values at seeds 0, 1, ..."""
    return [
        row("adamw").model_copy(update={"values": {name: dict(enumerate(of)) for name, of in column.items()}})
        for column in columns
    ]


def drawn(seeds: int = 3, count: int = 7) -> list[Row]:
    source = np.random.default_rng(0)
    scores = ("forgetting", "update_max", "fit")
    return rows(*({name: source.integers(0, 5, seeds).astype(float).tolist() for name in scores} for _ in range(count)))


def of(drawn_rows: list[Row], name: str, seed: int) -> list[float]:
    return [one.exact(name)[seed] for one in drawn_rows]


def test_a_correlation_is_spearman_s_by_seed_with_ties_at_their_mean_rank() -> None:
    made = drawn()
    found = correlations(made, "forgetting", "update_max")
    for seed, value in found.items():
        expected = stats.spearmanr(of(made, "update_max", seed), of(made, "forgetting", seed)).statistic
        assert value == pytest.approx(expected)
    assert {*found} == {0, 1, 2}
    assert ranked(np.array([3.0, 1.0, 3.0])).tolist() == stats.rankdata([3.0, 1.0, 3.0]).tolist()


def test_a_partial_correlation_is_that_of_what_regressions_on_the_third_leave() -> None:
    made = drawn()
    for seed, value in correlations(made, "forgetting", "update_max", "fit").items():
        x, y, z = (stats.rankdata(of(made, name, seed)) for name in ("update_max", "forgetting", "fit"))
        left = [ranks - np.polyval(np.polyfit(z, ranks, 1), z) for ranks in (x, y)]
        assert value == pytest.approx(np.corrcoef(left)[0, 1])
    assert np.isnan(partial_correlation(np.array([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]])))


def test_a_seed_without_a_value_at_some_row_or_without_variation_has_no_correlation() -> None:
    made = rows(*({"forgetting": [float(k), float(k)], "fit": [float(k), 1.0]} for k in range(4)))
    assert correlations(made, "forgetting", "fit") == {0: pytest.approx(1.0)}
    made[0] = made[0].model_copy(update={"values": {"forgetting": {1: 0.0}, "fit": {0: 0.0, 1: 1.0}}})
    assert correlations(made, "forgetting", "fit") == {}
    assert correlations(made[:3], "forgetting", "fit") == {}
    assert correlations([], "forgetting", "fit") == {}


def test_a_table_has_the_strongest_first_and_leaves_out_what_was_not_measured() -> None:
    values = {"weak": {0: 0.1, 1: 0.3}, "strong": {0: -0.9, 1: -0.8}, "none": {}}
    lines = table(["measure", "r"], [*values], [lambda name: values[name]]).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["strong", "weak"]
    assert "-0.85 \\[-1.00, -0.21\\]" in lines[2]


def test_rows_of_the_a_a_are_left_out_or_take_the_place_of_adamw_s_own() -> None:
    pairs = [("adamw", "adamw"), ("adamw-again", "adamw"), ("adamw", "muon"), ("adamw-again", "adamw-again"),
             ("adamw", "adamw-again")]  # fmt: skip
    made = [row("adamw").model_copy(update={"optimizer": name, "base": [base]}) for name, base in pairs]
    assert [(one.optimizer, *one.base) for one in unsalted(made)] == [pairs[0], pairs[2]]
    assert [(one.optimizer, *one.base) for one in replaced(made)] == [pairs[2], pairs[3]]
