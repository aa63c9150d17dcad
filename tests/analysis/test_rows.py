"""Rows of experiments with sizes, variants and extended grids, from synthetic results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from docs.calibration import pooled
from synthbench.analysis.rows import RUN_DIGITS, Row, rounded
from synthbench.experiment.runs import Result, Run
from synthbench.reporting import table
from tests import tiny
from tests.analysis import example_rows
from tests.reporting import synthetic_results
from tests.reporting.synthetic_results import FULL_UPDATE, TWO_RATES, Scores


def scores_by_items(run: Run) -> dict[str, float]:
    """Rule accuracy is a hundredth of the number of trained rule items; learning is the learning rate."""
    items = run.examples["rule"]
    return {"learning": run.lr, "validation_learning": run.lr * 100, "rule_accuracy": items / 100, "forgetting": 0.2}


def rows_of(
    folder: Path, *settings: str, scores_of: Scores = scores_by_items, optimizers: Sequence[str] = ("adamw",)
) -> list[Row]:
    out = synthetic_results.write(folder / "out", scores_of, TWO_RATES, *settings, optimizers=list(optimizers))
    return synthetic_results.latest_report(out).rows


def test_each_size_has_a_row_with_the_number_of_examples_to_the_rule(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, FULL_UPDATE, tiny.axis("stages.finetune.size", [0.5, 1, 2]))
    assert [(row.size, row.items["rule"]) for row in rows] == [(0.5, 18), (1.0, 36), (2.0, 72)]
    # The accuracies are 0.18, 0.36 and 0.72; 0.5 is interpolated at 36 * 2 ** ((0.5 - 0.36) / 0.36).
    for row in rows:
        assert row.values["examples_to_rule@t"][0] == pytest.approx(36 * 2 ** (0.14 / 0.36))
        assert row.censored["examples_to_rule@t"] == {}
        assert set(row.rates) == {1e-3, 2e-3}
        assert row.rates[2e-3]["learning"] == dict.fromkeys(range(3), 2e-3)
    assert [cells[2] for cells in table.Table(rows, ["learning"]).cells()] == ["0.5", "1", "2"]


def test_a_rule_that_no_size_or_step_reaches_is_censored_and_its_bound_is_shown(tmp_path: Path) -> None:
    (_, row) = rows_of(tmp_path, FULL_UPDATE, tiny.axis("stages.finetune.size", [0.5, 1]))
    assert row.values["examples_to_rule@t"] == dict.fromkeys(range(3), 36.0)
    assert row.censored["examples_to_rule@t"] == dict.fromkeys(range(3), ">")
    assert row.censored["steps_to_rule@t"] == dict.fromkeys(range(3), ">")
    (cells,) = table.Table([row], ["examples_to_rule@t", "steps_to_rule@t"]).cells()
    assert cells[-2:] == [">36 (0/3)", ">10 (0/3)"]


def test_the_target_step_scales_with_the_size(tmp_path: Path) -> None:
    """Paths of both sizes have the same steps here, so their rates bracket the target step of size 1 only."""
    size_1, size_2 = rows_of(tmp_path, FULL_UPDATE, tiny.axis("stages.finetune.size", [1, 2]))
    assert size_1.values["rule_accuracy@fit"]
    assert not size_2.values["rule_accuracy@fit"]
    assert size_1.values["forgetting@fits"] == dict.fromkeys(range(3), pytest.approx(0.2))
    assert size_1.values["forgetting@steps"] == dict.fromkeys(range(3), pytest.approx(0.2))


def test_a_row_holds_readings_of_what_is_measured_alone(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, FULL_UPDATE)
    names = [f"{name}@{reading}" for name in ("learning", "rule_accuracy", "forgetting") for reading in ("fit", "fits")]
    assert sorted(row.target_steps) == sorted(names)
    assert all(row.values[name] == by_step[5] and set(by_step) == {4, 5} for name, by_step in row.target_steps.items())
    assert {name for name in row.values if name.endswith("@steps")} == {
        f"{name}@steps" for name in ("learning", "rule_accuracy", "forgetting")
    }


def test_a_variant_that_shares_its_optimizer_s_base_has_its_own_row(tmp_path: Path) -> None:
    variant = "variants.slow={of='adamw', lr=[1e-3]}"  # adamw has this rate, too: both rows share the run
    adamw, slow = rows_of(tmp_path, FULL_UPDATE, variant, optimizers=["adamw", "slow"])
    assert (adamw.label, slow.label) == ("adamw", "slow")
    assert (slow.variant_of, slow.base, set(slow.rates)) == ("adamw", ["adamw"], {1e-3})
    assert set(adamw.rates) == {1e-3, 2e-3}
    assert (adamw.lr, slow.lr) == (2e-3, 1e-3)


def test_an_extended_grid_is_one_row_that_may_have_an_inner_rate(tmp_path: Path) -> None:
    def best_at_an_inner_rate(run: Run) -> dict[str, float]:
        return {"validation_learning": {1e-3: 0.1, 2e-3: 0.5, 4e-3: 0.9, 8e-3: 0.2}[run.lr], "rule_accuracy": 0.1}

    (row,) = rows_of(tmp_path, FULL_UPDATE, "stages.finetune.extend=3", scores_of=best_at_an_inner_rate)
    assert (sorted(row.rates), row.lr, row.edge) == ([1e-3, 2e-3, 4e-3, 8e-3], 4e-3, False)


def test_ranks_are_shown_with_the_width(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    assert [cells[1] for cells in table.Table(rows, ["learning"]).cells()] == ["full", "lora-4/16"]


def test_censored_values_have_no_deviation() -> None:
    steps = "steps_to_rule@t"
    adamw = example_rows.row("adamw").model_copy(
        update={"values": {steps: {0: 10.0, 1: 180.0, 2: 30.0}}, "censored": {steps: {1: ">"}}}
    )
    assert adamw.exact(steps) == {0: 10.0, 2: 30.0}
    assert pooled([adamw], steps)[0] == pytest.approx(200**0.5)  # the standard deviation of 10 and 30


def test_a_row_names_every_device_that_measured_its_runs(tmp_path: Path) -> None:
    out = synthetic_results.write(
        tmp_path, scores_by_items, FULL_UPDATE, device_of=lambda run: "b" if run.seed == 0 or run.lr > 1e-3 else "a",
    )  # fmt: skip
    assert {row.device for row in synthetic_results.latest_report(out).rows} == {"a + b"}
    on_one = synthetic_results.write(tmp_path / "one", scores_by_items, device_of=lambda run: run.optimizer.name)
    assert {row.device for row in synthetic_results.latest_report(on_one).rows} == {"adamw", "muon"}


def test_an_edge_of_an_earlier_stage_is_that_of_the_same_point_of_the_axes(tmp_path: Path) -> None:
    """Without decay the best rate of pretraining lies inside of its grid, with it at an end."""
    decays = tiny.axis("stages.pretrain.weight_decay", [0, 0.1])
    best = {0.0: 1e-3, 0.1: 2e-3}

    def result_of(run: Run) -> Result:
        learned = 0.5 - abs(run.lr - best[run.weight_decay]) * 100 if run.stage == "pretrain" else 0.5
        scores = {"validation_learning": learned, "validation_loss": 1.0, "learning": learned}
        return Result(run.id, "ok", scores, {}, device="a device", versions={"torch": "2"})

    grid = "stages.pretrain.lr=[5e-4,1e-3,2e-3]"
    experiment = tiny.experiment(tmp_path, FULL_UPDATE, decays, grid)
    out = synthetic_results.fill(tmp_path / "out", experiment, result_of, "synthbench run")
    rows = synthetic_results.latest_report(out).rows
    assert [(row.axes["weight-decay"], row.edge_before) for row in rows] == [(0, False), (0.1, True)]


def test_a_salted_variant_with_a_base_of_its_own_is_named_apart_on_that_of_its_optimizer(tmp_path: Path) -> None:
    both = "stages.finetune.optimizer=['adamw', 'again']"
    for own, labels in (
        ("", ["adamw", "again"]),
        (", base='again'", ["adamw", "again on adamw", "adamw on again", "again"]),
    ):
        variant, folder = f"variants.again={{of='adamw', salt='again'{own}}}", tmp_path / f"own{bool(own)}"
        rows = rows_of(folder, FULL_UPDATE, variant, both, optimizers=["adamw", "again"])
        assert [row.label for row in rows] == labels


def test_many_numbers_are_rounded_as_python_rounds_each() -> None:
    rng = np.random.default_rng(0)
    ties = (rng.integers(-(10**6), 10**6, 20_000) + 0.5) / 10**RUN_DIGITS  # most are no ties in binary
    sizes = rng.normal(size=20_000) * 10.0 ** rng.integers(-12, 16, 20_000)
    special = [np.inf, -np.inf, np.nan, -0.0, 0.0, -1e-9]
    numbers = np.concatenate([rng.uniform(-1, 1, 20_000), ties, sizes, special])
    one_by_one = np.array([round(number, RUN_DIGITS) for number in numbers.tolist()])
    assert rounded(numbers).tobytes() == one_by_one.tobytes()
