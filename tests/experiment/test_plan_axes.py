"""The planner's further axes: sizes of the set, and grids that grow where their edge is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.execution import fleet_setup
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, count, resolve
from synthbench.experiment.runs import Result, Run
from tests import tiny
from tests.each import each
from tests.experiment.test_plan import cells, diverged, ok, play, rising

SIZES = "stages.finetune.sizes=[0.5, 1.0, 2.0]"


def test_a_size_scales_items_and_steps_together_so_an_item_is_seen_equally_often(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES)
    found = {cell.size: runs[0] for cell, runs in cells(experiment, "finetune").items()}
    assert {size: (run.steps, run.examples) for size, run in found.items()} == {
        0.5: (5, {"fact": 6, "rule": 18}), 1.0: (10, {"fact": 12, "rule": 36}), 2.0: (20, {"fact": 24, "rule": 72})
    }  # fmt: skip
    for run in found.values():
        shown = fleet_setup.data(experiment.tasks["tiny-task"], [run]).order_KTB
        assert shown.size / sum(run.examples.values()) == 10 * 16 / 48
        assert run.points == 2


def test_the_size_of_the_card_itself_has_the_runs_of_a_card_without_sizes(tmp_path: Path) -> None:
    with_sizes = {
        cell: {run.id for run in runs} for cell, runs in cells(tiny.experiment(tmp_path, SIZES), "finetune").items()
    }
    without = {cell: {run.id for run in runs} for cell, runs in cells(tiny.experiment(tmp_path), "finetune").items()}
    assert without.items() <= with_sizes.items()
    assert len(with_sizes) == 3 * len(without)


def test_a_smaller_set_is_the_beginning_of_a_larger_one_and_starts_from_the_same_weights(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES)
    task = experiment.tasks["tiny-task"]
    few, *_, many = sorted((runs[0] for runs in cells(experiment, "finetune").values()), key=lambda run: run.steps)
    assert few.parent == many.parent
    for part in ("fact", "rule"):
        small, large = (task.draw("finetune", 0, run.examples)[part].train for run in (few, many))
        assert small.digest() == large.take(slice(len(small))).digest()


def test_sizes_are_of_the_first_update_and_others_have_the_first_size(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES, "stages.finetune.update=['full', 'lora-4']")
    found = {(cell.update, cell.size) for cell in cells(experiment, "finetune")}
    assert found == {("full", 0.5), ("full", 1.0), ("full", 2.0), ("lora-4", 0.5)}


@each(
    ("settings", "said"),
    [
        (["stages.finetune.sizes=[3.0]"], ["finetune.rule", "items = 108", "80"]),
        (["stages.finetune.sizes=[0.1]"], ["points = 2", "1"]),
        (["stages.finetune.sizes=[1.0, 1.0]"], ["sizes"]),
        (["stages.finetune.sizes=[0.0]"], ["sizes.0 = 0.0"]),
        (["stages.finetune.sizes=[]"], ["sizes = []", "1"]),
        (["stages.pretrain.sizes=[0.5, 1.0]"], ["pretrain"]),
    ],
)
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, settings: list[str], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, *settings)
    assert all(part in str(caught.value) for part in said), str(caught.value)


# Grids that grow


def falling(run: Run) -> Result:
    return ok(run, 1 - min(1.0, 20 * run.lr))


def rates(waves: list[list[Run]], stage: str = "finetune") -> list[list[float]]:
    """The rates of a stage, wave by wave."""
    return [sorted({run.lr for run in wave}) for wave in waves if wave[0].stage == stage]


GRID = "stages.finetune.lr=[2e-3, 4e-3, 1.2e-2]"


@each("extend", range(4))
@each(("outcome", "further"), [(rising, [3.6e-2, 0.108, 0.324]), (falling, [1e-3, 5e-4, 2.5e-4])])
def test_where_an_edge_is_chosen_the_grid_goes_on_by_its_factor_there_so_many_times_at_most(
    tmp_path: Path, extend: int, outcome: Any, further: list[float]
) -> None:
    # the grid's factors are 2 at its lower end and 3 at its upper one
    waves = play(tiny.experiment(tmp_path, GRID, f"stages.finetune.extend={extend}"), outcome)
    assert rates(waves) == [[2e-3, 4e-3, 1.2e-2], *([rate] for rate in further[:extend])]
    assert all({run.seed for run in wave} == {0, 1} for wave in waves)


@each(
    ("grid", "outcome", "found"),
    [
        ([2e-3, 4e-3], lambda run: ok(run, 0.9 if run.lr == 8e-3 else 20 * run.lr), [[2e-3, 4e-3], [8e-3], [1.6e-2]]),
        ([2e-3, 4e-3, 8e-3], lambda run: ok(run, 0.9 if run.lr == 4e-3 else 0.1), [[2e-3, 4e-3, 8e-3]]),
        ([2e-3], rising, [[2e-3]]),  # one rate is no grid
        ([2e-3, 4e-3], lambda run: diverged(run) if run.stage == "finetune" else ok(run), [[2e-3, 4e-3]]),
    ],
)
def test_a_grid_grows_no_further_where_no_edge_is_chosen(
    tmp_path: Path, grid: list[float], outcome: Any, found: list[list[float]]
) -> None:
    experiment = tiny.experiment(tmp_path, f"stages.finetune.lr={grid}", "stages.finetune.extend=3")
    assert rates(play(experiment, outcome)) == found


def test_a_grid_that_a_person_asks_for_is_searched_as_it_is(tmp_path: Path) -> None:
    card = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", "points = 2\nextend = 3"))
    own, asked = (resolve(RunRequest(str(card), lr=lr, device="cpu")) for lr in (None, [2e-3, 4e-3]))
    assert rates(play(own, rising)) == [[1e-3, 2e-3], [4e-3], [8e-3], [1.6e-2]]
    assert rates(play(asked, rising)) == [[2e-3, 4e-3]]


def test_children_start_from_the_rate_that_was_found_by_growing(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    waves = play(experiment, rising)
    assert rates(waves, "pretrain") == [[1e-3, 2e-3], [4e-3]]
    parents = {run.id: run.lr for wave in waves for run in wave}
    assert {parents[run.parent or ""] for run in waves[-1]} == {4e-3}


def test_the_forecast_does_not_count_what_may_be_added_and_counts_what_is(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.extend=2")
    assert len(Plan(experiment, {}).remaining()) == 2 + 4 == count(experiment.card, list(experiment.tasks))
    done = {run.id: rising(run) for run in Plan(experiment, {}).remaining()}
    assert sorted((run.lr, run.seed) for run in Plan(experiment, done).remaining()) == [(4e-3, 0), (4e-3, 1)]


def test_the_forecast_after_an_earlier_stage_has_grown_counts_the_children_once(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    done: dict[str, Result] = {}
    while runs := [run for run in Plan(experiment, done).ready() if run.stage == "pretrain"]:
        done |= {run.id: rising(run) for run in runs}
    assert len(done) == 3 * 2
    coming = Plan(experiment, done).remaining()
    assert len(coming) == 2 * 2
    assert {run.id for run in coming} == {run.id for run in Plan(experiment, done).ready()}
