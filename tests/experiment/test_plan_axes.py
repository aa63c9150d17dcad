"""Further axes of a plan: sizes of the training set, and grids that are extended where their edge is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.execution import fleet_setup
from synthbench.experiment.brackets import lacking, most_wanted
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from tests import tiny
from tests.each import each
from tests.experiment.test_plan import cells, diverged, ok, rising, simulate

SIZES = tiny.axis("stages.finetune.size", [0.5, 1.0, 2.0])


def test_a_size_scales_items_and_steps_so_that_every_item_is_repeated_equally_often(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES)
    runs_by_size = {cell.size: runs[0] for cell, runs in cells(experiment, "finetune").items()}
    assert {size: (run.steps, run.examples) for size, run in runs_by_size.items()} == {
        0.5: (5, {"fact": 6, "rule": 18}), 1.0: (10, {"fact": 12, "rule": 36}), 2.0: (20, {"fact": 24, "rule": 72})
    }  # fmt: skip
    for run in runs_by_size.values():
        order_KTB = fleet_setup.data(experiment.tasks["tiny-task"], [run]).order_KTB
        assert order_KTB.size / sum(run.examples.values()) == 10 * 16 / 48
        assert run.points == 2


def test_size_1_has_the_runs_of_a_card_without_sizes(tmp_path: Path) -> None:
    with_sizes, without = (
        {cell._replace(point=()): {run.id for run in runs} for cell, runs in cells(experiment, "finetune").items()}
        for experiment in (tiny.experiment(tmp_path, SIZES), tiny.experiment(tmp_path))
    )
    assert without.items() <= with_sizes.items()
    assert len(with_sizes) == 3 * len(without)


def test_a_smaller_set_is_a_prefix_of_a_larger_one_and_starts_from_the_same_weights(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES)
    task = experiment.tasks["tiny-task"]
    small_run, *_, large_run = sorted(
        (runs[0] for runs in cells(experiment, "finetune").values()), key=lambda run: run.steps
    )
    assert small_run.parent == large_run.parent
    for slice_name in ("fact", "rule"):
        small, large = (task.draw("finetune", 0, run.examples)[slice_name].train for run in (small_run, large_run))
        assert small.digest() == large.take(slice(len(small))).digest()


def test_an_axis_for_one_update_leaves_the_others_at_the_card_s_value(tmp_path: Path) -> None:
    sizes = "axes=[{path='stages.finetune.size', values=[0.5, 2.0], updates=['full']}]"
    experiment = tiny.experiment(tmp_path, sizes, "stages.finetune.update=['full', 'lora-4']")
    combinations = {(cell.update, cell.size, *cell.point) for cell in cells(experiment, "finetune")}
    assert combinations == {("full", size, ("size", size)) for size in (0.5, 2.0)} | {("lora-4", 1.0, ("size", 1.0))}


@each(
    ("settings", "expected"),
    [
        ([tiny.axis("stages.finetune.size", [3.0])], ["finetune.rule", "items = 108", "80"]),
        ([tiny.axis("stages.finetune.size", [0.1])], ["points = 2", "1"]),
        ([tiny.axis("stages.finetune.size", [1.0, 1.0])], ["axes.0.values", "twice"]),
        ([tiny.axis("stages.finetune.size", [0.0])], ["size = 0.0"]),
        ([tiny.axis("stages.finetune.size", [])], ["axes.0.values = []", "1"]),
    ],
)
def test_an_invalid_size_is_refused(tmp_path: Path, settings: list[str], expected: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, *settings)
    assert all(text in str(caught.value) for text in expected), str(caught.value)


# Extended grids


def falling(run: Run) -> Result:
    """Learning decreases with the rate."""
    return ok(run, 1 - min(1.0, 20 * run.lr))


def rates(waves: list[list[Run]], stage: str = "finetune") -> list[list[float]]:
    """The rates of a stage, wave by wave."""
    return [sorted({run.lr for run in wave}) for wave in waves if wave[0].stage == stage]


GRID = "stages.finetune.lr=[2e-3, 4e-3, 1.2e-2]"


@each("extend", range(4))
@each(("outcome", "extension"), [(rising, [3.6e-2, 0.108, 0.324]), (falling, [1e-3, 5e-4, 2.5e-4])])
def test_a_grid_is_extended_by_its_factor_while_its_edge_is_chosen(
    tmp_path: Path, extend: int, outcome: Any, extension: list[float]
) -> None:
    # the factors of the grid are 2 at its lower edge and 3 at its upper edge
    waves = simulate(tiny.experiment(tmp_path, GRID, f"stages.finetune.extend={extend}"), outcome)
    assert rates(waves) == [[2e-3, 4e-3, 1.2e-2], *([rate] for rate in extension[:extend])]
    assert all({run.seed for run in wave} == {0, 1} for wave in waves)


@each(
    ("grid", "outcome", "expected"),
    [
        ([2e-3, 4e-3], lambda run: ok(run, 0.9 if run.lr == 8e-3 else 20 * run.lr), [[2e-3, 4e-3], [8e-3], [1.6e-2]]),
        ([2e-3, 4e-3, 8e-3], lambda run: ok(run, 0.9 if run.lr == 4e-3 else 0.1), [[2e-3, 4e-3, 8e-3]]),
        ([2e-3], rising, [[2e-3]]),  # one rate has no edge
        ([2e-3, 4e-3], lambda run: diverged(run) if run.stage == "finetune" else ok(run), [[2e-3, 4e-3]]),
    ],
)
def test_a_grid_is_not_extended_where_no_edge_is_chosen(
    tmp_path: Path, grid: list[float], outcome: Any, expected: list[list[float]]
) -> None:
    experiment = tiny.experiment(tmp_path, f"stages.finetune.lr={grid}", "stages.finetune.extend=3")
    assert rates(simulate(experiment, outcome)) == expected


def test_a_grid_given_as_an_option_is_not_extended(tmp_path: Path) -> None:
    card = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", "points = 2\nextend = 3"))
    default, requested = (resolve(RunRequest(str(card), lr=lr, device="cpu")) for lr in (None, [2e-3, 4e-3]))
    assert rates(simulate(default, rising)) == [[1e-3, 2e-3], [4e-3], [8e-3], [1.6e-2]]
    assert rates(simulate(requested, rising)) == [[2e-3, 4e-3]]


def test_children_start_from_a_rate_of_the_extension(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    waves = simulate(experiment, rising)
    assert rates(waves, "pretrain") == [[1e-3, 2e-3], [4e-3]]
    parents = {run.id: run.lr for wave in waves for run in wave}
    assert {parents[run.parent or ""] for run in waves[-1]} == {4e-3}


def test_the_forecast_counts_an_extension_only_once_it_is_planned(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.extend=2")
    assert len(Plan(experiment, {}).remaining()) == 2 + 4
    done = {run.id: rising(run) for run in Plan(experiment, {}).remaining()}
    assert sorted((run.lr, run.seed) for run in Plan(experiment, done).remaining()) == [(4e-3, 0), (4e-3, 1)]


def test_the_forecast_counts_children_once_after_an_extension(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    done: dict[str, Result] = {}
    while runs := [run for run in Plan(experiment, done).ready() if run.stage == "pretrain"]:
        done |= {run.id: rising(run) for run in runs}
    assert len(done) == 3 * 2
    remaining = Plan(experiment, done).remaining()
    assert len(remaining) == 2 * 2
    assert {run.id for run in remaining} == {run.id for run in Plan(experiment, done).ready()}


# Grids extended towards target steps


def path_to(step: float | None) -> dict[int, dict[str, float]]:
    """A path that reaches fit 0.9 at a step, or never."""
    if step is None:
        return {0: {"fit": 0.0}, 1000: {"fit": 0.5}}
    return {0: {"fit": 0.0}, round(step * 100): {"fit": 90.0}}  # a hundredth of the way, for steps between two


def at_steps(steps: dict[float, float | None], **more: Any) -> Any:
    """An outcome: the step at which a rate reaches the fit, 10 / rate where none is given; no edge is best."""

    def outcome(run: Run) -> Result:
        if run.stage == "pretrain":
            return ok(run)
        reached = steps.get(run.lr, 0.1 / run.lr)
        return replace(ok(run, 0.9 if run.lr == 4e-3 else 0.1), path=path_to(reached))

    return outcome


THREE = [2e-3, 4e-3, 8e-3]  # 50, 25 and 12.5 steps
NEVER = dict.fromkeys((*THREE, 1.6e-2, 3.2e-2), None)


@each(
    ("steps", "targets", "extension"),
    [
        ({}, [20, 40], []),  # on both sides of every target step
        ({}, [20, 60], [1e-3]),  # all faster than 60
        ({}, [20, 120], [1e-3, 5e-4]),
        ({}, [10, 20], [1.6e-2]),  # all slower than 10
        ({}, [10, 20, 60], [1.6e-2, 1e-3]),  # by two, the nearest to the card's own (20) first
        ({}, [1, 20], [1.6e-2, 3.2e-2]),  # as often as the stage says
        (NEVER, [20], [1.6e-2, 3.2e-2]),  # a larger rate may reach the fit
        ({8e-3: None}, [10, 20], []),  # the largest rate never fits, though smaller ones do
        ({2e-3: None}, [20, 40], [2.83e-3, 2.38e-3]),  # the smallest rate takes too many steps: 35, then 42
        ({8e-3: None}, [30, 20], []),
    ],
)
def test_a_grid_is_extended_towards_the_target_steps(
    tmp_path: Path, steps: dict[float, float | None], targets: list[int], extension: list[float]
) -> None:
    reading = f"reading={{fit=0.9, target_steps={targets}, target_step=20}}"
    settings = f"stages.finetune.lr={THREE}", "stages.finetune.extend=2", reading
    planned = rates(simulate(tiny.experiment(tmp_path, *settings), at_steps(steps)))
    assert planned == [THREE, *([rate] for rate in extension)]


@each(("fit_of", "extension"), [("fit", [1.6e-2]), ("rule_fit", [1e-3]), ("noise_recall", [])])
def test_a_grid_is_extended_towards_where_the_score_that_is_meant_by_fit_is_reached(
    tmp_path: Path, fit_of: str, extension: list[float]
) -> None:
    """Fit is reached after the target step at every rate, the other score before it; the third is not measured."""

    def outcome(run: Run) -> Result:
        if run.stage == "pretrain":
            return ok(run)
        path = {0: {"fit": 0.0, "rule_fit": 0.0}, 10: {"fit": 0.1, "rule_fit": 0.9}, 100: {"fit": 1.0, "rule_fit": 1.0}}
        return replace(ok(run, 0.9 if run.lr == 4e-3 else 0.1), path=path)

    reading = f"reading={{fit=0.9, fit_of='{fit_of}', target_steps=[30], target_step=30}}"
    settings = f"stages.finetune.lr={THREE}", "stages.finetune.extend=1", reading
    planned = rates(simulate(tiny.experiment(tmp_path, *settings), outcome))
    assert planned == [THREE, *([rate] for rate in extension)]


def test_most_seeds_decide_where_a_grid_is_extended() -> None:
    faster, slower = {1.0: 15.0, 2.0: 10.0}, {1.0: 50.0, 2.0: 30.0}
    assert [lacking(steps, [1.0, 2.0], 20) for steps in (slower, faster, {})] == [4.0, 0.5, None]
    assert lacking({1.0: 50.0}, [1.0, 2.0], 20) is None  # the larger rate diverged
    assert lacking({2.0: 10.0}, [1.0, 2.0], 20) is None
    assert lacking({1.0: None, 4.0: 10.0}, [1.0, 4.0], 20) == 2.0
    assert most_wanted([faster, faster, slower], [1.0, 2.0], 20) == 0.5
    assert most_wanted([faster, slower, slower], [1.0, 2.0], 20) == 4.0


@each(("settings", "is_extended"), [
    (["columns=['learning']"], False),
    (["columns=['learning', 'forgetting@fits']"], True),
    (["columns=['learning']", "rank='rule_accuracy@fit'"], True),
    (["columns=['forgetting@steps']"], False),
    (["stages.finetune.extend=0"], False),
    ([tiny.axis("stages.finetune.size", [3])], False),  # target steps grow with the size: 60 is reached between the rates
])  # fmt: skip
def test_only_a_card_that_reads_between_rates_extends_towards_target_steps(
    tmp_path: Path, settings: list[str], is_extended: bool
) -> None:
    reading = "reading={fit=0.9, target_steps=[10], target_step=10}"
    grid = f"stages.finetune.lr={THREE}", "stages.finetune.extend=1", "stages.finetune.examples={fact=4, rule=12}"
    planned = rates(simulate(tiny.experiment(tmp_path, *grid, reading, *settings), at_steps({})))
    assert planned == [THREE, *[[1.6e-2]] * is_extended]


@each(("columns", "is_extended"), [(["forgetting@fit"], False), (["forgetting@fit", "learning"], True)])
def test_an_edge_that_is_chosen_extends_a_grid_only_where_something_is_read_at_the_chosen_rate(
    tmp_path: Path, columns: list[str], is_extended: bool
) -> None:
    """The largest rate is chosen; the target step lies between the rates."""
    settings = (
        f"stages.finetune.lr={THREE}", "stages.finetune.extend=1", f"columns={columns}",
        "reading={fit=0.9, target_steps=[30], target_step=30}",
    )  # fmt: skip
    outcome = at_steps({})
    chosen = lambda run: replace(outcome(run), scores={**outcome(run).scores, "validation_learning": run.lr})
    planned = rates(simulate(tiny.experiment(tmp_path, *settings), chosen))
    assert planned[0] == THREE
    assert (len(planned) > 1) == is_extended
