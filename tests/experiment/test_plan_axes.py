"""The planner's further axes: arms of an optimizer, sizes of the set, grids that grow, variants and tasks that share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthbench.errors import BadInput
from synthbench.experiment import materials, members
from synthbench.experiment.claims import Claims
from synthbench.experiment.engine import Engine
from synthbench.experiment.materials import Kept
from synthbench.experiment.packing import pack
from synthbench.experiment.plan import Experiment, forecast, next_runs, walk
from synthbench.experiment.resolve import Asked, count, resolve
from synthbench.experiment.runs import Cell, Result, Run
from synthbench.experiment.store import Store
from synthbench.interrupt import Interrupt
from tests.experiment import tiny
from tests.experiment.test_plan import diverged, finished, ok, play

BOTH = "optimizers=['adamw', 'arm']"


def cells(experiment: Experiment, stage: str) -> dict[Cell, list[Run]]:
    """The cells of a stage with their runs, once everything is done."""
    return {cell: runs for cell, runs in walk(experiment, finished(experiment)).cells.items() if cell.stage == stage}


def of(experiment: Experiment, optimizer: str, stage: str = "finetune") -> list[Run]:
    return [run for cell, runs in cells(experiment, stage).items() if cell.optimizer == optimizer for run in runs]


# Arms


def test_an_arm_has_its_own_arguments_and_the_rest_of_its_optimizers(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "arms.arm={of='adamw', arguments={eps=1e-4}}", "arguments.adamw={betas=[0.5, 0.6]}"
    )
    arm, own = (of(experiment, name)[0].rule.arguments for name in ("arm", "adamw"))
    assert (arm["eps"], own["eps"]) == (1e-4, 1e-8)
    assert arm["betas"] == own["betas"] == [0.5, 0.6]
    assert {run.rule.name for run in of(experiment, "arm")} == {"adamw"}


@pytest.mark.parametrize("base", ["adamw", "arm"])
def test_an_arm_has_its_own_rates_in_the_last_stage_alone(tmp_path: Path, base: str) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, f"arms.arm={{of='adamw', lr=[0.25], base='{base}'}}")
    assert {run.lr for run in of(experiment, "arm")} == {0.25}
    assert {run.lr for run in of(experiment, "adamw")} == {1e-3, 2e-3}
    assert {run.lr for runs in cells(experiment, "pretrain").values() for run in runs} == {1e-3}


def test_arms_start_from_what_their_optimizer_pretrained_which_is_planned_once(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, "optimizers=['arm', 'adamw', 'other']", "arms.arm={of='adamw', arguments={eps=1e-4}}",
        "arms.other={of='adamw', arguments={eps=1e-3}, salt='again'}",
    )  # fmt: skip
    first, second = play(experiment)
    assert [(run.rule.arguments["eps"], run.salt, run.seed) for run in first] == [(1e-8, "", 0), (1e-8, "", 1)]
    assert {run.parent for run in second} == {run.id for run in first}
    assert len(second) == 3 * 2 * 2  # names, rates, seeds
    assert {cell.base for cell in cells(experiment, "finetune")} == {("adamw",)}


def test_an_arm_without_its_optimizer_beside_it_is_pretrained_by_its_optimizer_all_the_same(tmp_path: Path) -> None:
    alone = tiny.experiment(tmp_path, "optimizers=['arm']", "arms.arm={of='adamw', arguments={eps=1e-4}}")
    (runs,) = cells(alone, "pretrain").values()
    assert {run.id for run in runs} == {run.id for run in next_runs(tiny.experiment(tmp_path), {})}


@pytest.mark.parametrize(
    ("base", "name", "eps"), [("muon", "muon", 1e-8), ("adamw", "adamw", 1e-8), ("arm", "adamw", 1e-4)]
)
def test_an_arm_finetunes_what_its_base_pretrained_an_arm_or_an_optimizer(
    tmp_path: Path, base: str, name: str, eps: float
) -> None:
    arm = f"arms.arm={{of='adamw', arguments={{eps=1e-4}}, base='{base}'}}"
    experiment = tiny.experiment(tmp_path, "optimizers=['arm']", arm)
    (start,) = cells(experiment, "pretrain")
    parents = {run.id: run for run in cells(experiment, "pretrain")[start]}
    assert start.optimizer == base
    assert {(run.rule.name, run.rule.arguments["eps"]) for run in parents.values()} == {(name, eps)}
    (cell,) = cells(experiment, "finetune")
    assert (cell.base, cell.optimizer) == ((base,), "arm")
    assert {parents[run.parent or ""].seed - run.seed for run in cells(experiment, "finetune")[cell]} == {0}


def test_a_salt_changes_order_and_adapters_and_neither_data_nor_parents(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "arms.arm={of='adamw', salt='again'}", "stages.finetune.update=['lora-4']", "seeds=1"
    )
    plain, salted = of(experiment, "adamw")[0], of(experiment, "arm")[0]
    assert (plain.salt, salted.salt, plain.lr) == ("", "again", salted.lr)
    assert plain.parent == salted.parent
    assert plain.id != salted.id
    one, other = (materials.data(experiment.tasks["tiny-task"], [run]) for run in (plain, salted))
    assert np.array_equal(one.tokens_KNL, other.tokens_KNL)
    assert not np.array_equal(one.order_KTB, other.order_KTB)
    assert materials.seed_of(plain, "adapters") != materials.seed_of(salted, "adapters")
    assert plain.kind == salted.kind  # they may share a fleet


def test_an_arm_that_differs_in_nothing_shares_every_run_and_each_is_planned_once(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "arms.arm={of='adamw'}")
    runs = [run for wave in play(experiment) for run in wave]
    assert len({run.id for run in runs}) == len(runs) == 2 + 4
    twin, own = (cells(experiment, "finetune")[cell] for cell in cells(experiment, "finetune"))
    assert [run.id for run in twin] == [run.id for run in own]
    assert len(forecast(experiment, {})) == 6


def test_an_arms_overrides_are_its_optimizers(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "arms.arm={of='muon'}", "stages.finetune.for.muon={steps=20, weight_decay=0.5}"
    )
    assert {(run.steps, run.weight_decay) for run in of(experiment, "arm")} == {(20, 0.5)}
    assert {(run.steps, run.weight_decay) for run in of(experiment, "adamw")} == {(10, 0.0)}


QUARTER = "arms.arm={of='adamw', arguments={eps=1e-4}, of_tuned=0.25}"


LATER = pytest.mark.xfail(strict=True, reason="an arm that is named before its optimizer never learns the tuned rate")


@pytest.mark.parametrize("names", ["['adamw', 'arm']", pytest.param("['arm', 'adamw']", marks=LATER)])
def test_an_arm_with_a_share_of_the_tuned_rate_waits_until_that_is_chosen(tmp_path: Path, names: str) -> None:
    experiment = tiny.experiment(tmp_path, f"optimizers={names}", QUARTER)
    waves = play(experiment, lambda run: ok(run, 0.9 if run.lr == 2e-3 else 0.1))
    assert [len(wave) for wave in waves] == [2, 4, 2]
    assert {(run.lr, run.rule.arguments["eps"]) for run in waves[2]} == {(5e-4, 1e-4)}
    assert {run.seed for run in waves[2]} == {0, 1}
    assert len(forecast(experiment, {})) == 2 + 4 + 2


def test_an_arm_has_its_share_of_the_rate_that_was_found_by_growing(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, QUARTER, "stages.finetune.extend=1")
    waves = play(experiment, rising)
    assert [sorted({run.lr for run in wave}) for wave in waves[1:]] == [[1e-3, 2e-3], [4e-3], [1e-3]]


def test_an_arm_has_its_share_of_the_rate_of_its_own_update_and_decay(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, QUARTER, "stages.finetune.update=['full', 'lora-4']", "stages.finetune.weight_decay=[0.0, 0.5]"
    )
    best = {("full", 0.0): 1e-3, ("full", 0.5): 2e-3, ("lora-4", 0.0): 2e-3, ("lora-4", 0.5): 1e-3}

    def outcome(run: Run) -> Result:
        return ok(run, 0.9 if run.lr == best[run.update, run.weight_decay] else 0.1) if run.parent else ok(run)

    *_, last = play(experiment, outcome)
    assert {((run.update, run.weight_decay), 4 * run.lr) for run in last} == set(best.items())


def test_an_arm_with_a_share_of_a_rate_that_nothing_chooses_never_starts(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, QUARTER)
    waves = play(experiment, lambda run: diverged(run) if run.parent else ok(run))
    assert len(waves) == 2


def test_what_a_task_an_optimizer_or_both_do_differently_holds_for_them_alone(tmp_path: Path) -> None:
    own = "tiny-task={steps=20, lr_factor=2.0}, muon={steps=30, lr_factor=3.0}, 'tiny-task/muon'={steps=40}"
    experiment = tiny.experiment(tmp_path, "optimizers=['adamw', 'muon']", f"stages.finetune.for={{{own}}}")
    assert {(run.steps, run.lr) for run in of(experiment, "adamw")} == {(20, 2e-3), (20, 4e-3)}
    assert {(run.steps, run.lr) for run in of(experiment, "muon")} == {(40, 6e-3), (40, 1.2e-2)}
    assert {run.steps for run in of(experiment, "muon", "pretrain")} == {12}


@pytest.mark.xfail(strict=True, reason="--lr is multiplied by a card's lr_factor")
def test_rates_that_a_person_asks_for_are_trained_as_they_are(tmp_path: Path) -> None:
    """Whatever the card makes of its own."""
    own = "points = 2\nfor.tiny-task = { lr_factor = 2.0 }"
    card = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", own))
    asked = resolve(Asked(str(card), lr=[5e-3], device="cpu"))
    assert {run.lr for run in of(asked, "adamw")} == {5e-3}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (QUARTER, ["arms.arm", "adamw", "run adamw, too"]),
        ("arms.arm={of='adamv'}", ["arms.arm.of", "'adamv'", "'adamw'"]),
        ("arms.muon={of='adamw'}", ["arms.muon", "the name of an optimizer"]),
        ("arms.arm={of='adamw', base='ar'}", ["arms.arm.base", "'ar'", "'arm'"]),
        ("arms.arm={of='adamw', arguments={epz=1}}", ["'epz'", "'eps'"]),
        ("arms.arm={of='adamw', arguments={eps=-1}}", ["arms.arm.arguments.eps = -1", "greater than 0"]),
        ("arms.arm={of='adamw', lr=[]}", ["arms.arm.lr", "at least 1"]),
        ("arms.arm={of='adamw', bases='muon'}", ["'arms.arm.bases'", "'base'"]),
        ("arms.arm={}", ["arms.arm.of is missing"]),
        ("optimizers=['arn']", ["'arn'"]),
    ],
)
def test_an_arm_that_cannot_be_is_refused_by_naming_it(tmp_path: Path, setting: str, said: list[str]) -> None:
    names = "optimizers=['arm']" if setting == QUARTER else BOTH
    settings = [setting] if setting.startswith("opt") else [setting, names]
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, *settings)
    assert all(part in str(caught.value) for part in said), str(caught.value)


# Sizes

SIZES = "stages.finetune.sizes=[0.5, 1.0, 2.0]"


def test_a_size_scales_items_and_steps_together_so_an_item_is_seen_equally_often(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, SIZES)
    found = {cell.size: runs[0] for cell, runs in cells(experiment, "finetune").items()}
    assert {size: (run.steps, run.examples) for size, run in found.items()} == {
        0.5: (5, {"fact": 6, "rule": 18}), 1.0: (10, {"fact": 12, "rule": 36}), 2.0: (20, {"fact": 24, "rule": 72})
    }  # fmt: skip
    for run in found.values():
        shown = materials.data(experiment.tasks["tiny-task"], [run]).order_KTB
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["stages.finetune.sizes=[3.0]"], ["finetune.rule", "items = 108", "at most 80"]),
        (["stages.finetune.sizes=[0.1]"], ["points = 2", "its steps, 1"]),
        (["stages.finetune.sizes=[1.0, 1.0]"], ["sizes", "twice"]),
        (["stages.finetune.sizes=[0.0]"], ["sizes.0 = 0.0"]),
        (["stages.finetune.sizes=[]"], ["sizes = []", "at least 1"]),
        (["stages.pretrain.sizes=[0.5, 1.0]"], ["pretrain", "only the last stage may cross"]),
    ],
)
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, settings: list[str], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, *settings)
    assert all(part in str(caught.value) for part in said), str(caught.value)


# Grids that grow


def rising(run: Run) -> Result:
    """The higher the rate, the more is learned."""
    return ok(run, min(1.0, 20 * run.lr))


def falling(run: Run) -> Result:
    return ok(run, 1 - min(1.0, 20 * run.lr))


def rates(waves: list[list[Run]], stage: str = "finetune") -> list[list[float]]:
    """The rates of a stage, wave by wave."""
    return [sorted({run.lr for run in wave}) for wave in waves if wave[0].stage == stage]


GRID = "stages.finetune.lr=[2e-3, 4e-3, 1.2e-2]"


@pytest.mark.parametrize("extend", range(4))
@pytest.mark.parametrize(
    ("outcome", "further"),
    [(rising, [3.6e-2, 0.108, 0.324]), (falling, [1e-3, 5e-4, 2.5e-4])],
)
def test_where_an_edge_is_chosen_the_grid_goes_on_by_its_factor_there_so_many_times_at_most(
    tmp_path: Path, extend: int, outcome: Any, further: list[float]
) -> None:
    # the grid's factors are 2 at its lower end and 3 at its upper one
    waves = play(tiny.experiment(tmp_path, GRID, f"stages.finetune.extend={extend}"), outcome)
    assert rates(waves) == [[2e-3, 4e-3, 1.2e-2], *([rate] for rate in further[:extend])]
    assert all({run.seed for run in wave} == {0, 1} for wave in waves)


def test_a_grid_stops_growing_when_its_edge_is_no_longer_chosen(tmp_path: Path) -> None:
    def outcome(run: Run) -> Result:
        return ok(run, 0.9 if run.lr == 8e-3 else 20 * run.lr)

    waves = play(tiny.experiment(tmp_path, "stages.finetune.lr=[2e-3, 4e-3]", "stages.finetune.extend=3"), outcome)
    assert rates(waves) == [[2e-3, 4e-3], [2 * 4e-3], [4 * 4e-3]]


def test_a_grid_whose_inner_rate_is_chosen_does_not_grow(tmp_path: Path) -> None:
    waves = play(
        tiny.experiment(tmp_path, GRID, "stages.finetune.extend=3"), lambda run: ok(run, 0.9 if run.lr == 4e-3 else 0.1)
    )
    assert rates(waves) == [[2e-3, 4e-3, 1.2e-2]]


def test_one_rate_is_no_grid_and_does_not_grow(tmp_path: Path) -> None:
    waves = play(tiny.experiment(tmp_path, "stages.finetune.lr=[2e-3]", "stages.finetune.extend=3"), rising)
    assert rates(waves) == [[2e-3]]


def test_a_grid_that_a_person_asks_for_is_searched_as_it_is(tmp_path: Path) -> None:
    card = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", "points = 2\nextend = 3"))
    own, asked = (resolve(Asked(str(card), lr=lr, device="cpu")) for lr in (None, [2e-3, 4e-3]))
    assert rates(play(own, rising)) == [[1e-3, 2e-3], [4e-3], [8e-3], [1.6e-2]]
    assert rates(play(asked, rising)) == [[2e-3, 4e-3]]


def test_a_grid_of_which_all_diverged_does_not_grow(tmp_path: Path) -> None:
    waves = play(
        tiny.experiment(tmp_path, "stages.finetune.extend=3"),
        lambda run: diverged(run) if run.stage == "finetune" else ok(run),
    )
    assert rates(waves) == [[1e-3, 2e-3]]


def test_children_start_from_the_rate_that_was_found_by_growing(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    waves = play(experiment, rising)
    assert rates(waves, "pretrain") == [[1e-3, 2e-3], [4e-3]]
    parents = {run.id: run.lr for wave in waves for run in wave}
    assert {parents[run.parent or ""] for run in waves[-1]} == {4e-3}


def test_the_forecast_does_not_count_what_may_be_added_and_counts_what_is(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.extend=2")
    assert len(forecast(experiment, {})) == 2 + 4 == count(experiment.card, list(experiment.tasks))
    done = {run.id: rising(run) for run in forecast(experiment, {})}
    assert sorted((run.lr, run.seed) for run in forecast(experiment, done)) == [(4e-3, 0), (4e-3, 1)]


@pytest.mark.xfail(strict=True, reason="the forecast forgets extensions and counts children of an inner rate as well")
def test_the_forecast_after_an_earlier_stage_has_grown_counts_the_children_once(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=1")
    done: dict[str, Result] = {}
    while runs := [run for run in next_runs(experiment, done) if run.stage == "pretrain"]:
        done |= {run.id: rising(run) for run in runs}
    assert len(done) == 3 * 2
    coming = forecast(experiment, done)
    assert len(coming) == 2 * 2
    assert {run.id for run in coming} == {run.id for run in next_runs(experiment, done)}


# Variants and tasks that share runs

VARIANTS = """
[variants]
few = { "stages.finetune.rule.items" = 20 }
other = { "stages.finetune.rule.shifts" = [3] }
early = { "stages.pretrain.rule.shifts" = [4] }
"""


def with_variants(folder: Path, *variants: str, **asked: Any) -> Experiment:
    runner = tiny.write(folder)
    (folder / "task.toml").write_text(tiny.TASK + VARIANTS)
    path = folder / "task.toml"
    return resolve(
        Asked(str(runner), tasks=[f"{path}:{one}" if one else str(path) for one in variants], device="cpu", **asked)
    )


def of_task(experiment: Experiment, label: str, done: Mapping[str, Result], stage: str) -> list[Run]:
    found = walk(experiment, done).cells.items()
    return [run for cell, runs in found if (cell.task, cell.stage) == (label, stage) for run in runs]


def test_variants_share_the_runs_of_stages_before_they_differ_and_no_others(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "few", "other", "early")
    assert list(experiment.tasks) == ["tiny-task", "tiny-task:few", "tiny-task:other", "tiny-task:early"]
    first, second = play(experiment)
    assert len(first) == 2 + 2  # seeds, of the three that agree so far and of the one that does not
    assert len(second) == 4 * 2 * 2  # variants, rates, seeds
    assert len({run.id for run in first + second}) == len(first) + len(second)
    done = finished(experiment)
    ids = {
        label: [{run.id for run in of_task(experiment, label, done, stage)} for stage in ("pretrain", "finetune")]
        for label in experiment.tasks
    }
    before, after = zip(*ids.values(), strict=True)
    assert before[0] == before[1] == before[2]
    assert not before[0] & before[3]
    assert len(set.union(*after)) == sum(map(len, after)) == 16


def test_a_variants_runs_are_those_it_has_without_the_others(tmp_path: Path) -> None:
    """So that a result is found again whatever else is asked for."""
    together, alone = with_variants(tmp_path, "", "few", "other"), with_variants(tmp_path, "few")
    assert finished(alone).keys() < finished(together).keys()


def test_variants_train_on_their_own_data(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "few", "other")
    done = finished(experiment)
    data = {
        label: materials.data(task, of_task(experiment, label, done, "finetune")[:1])
        for label, task in experiment.tasks.items()
    }
    base, few, other = data.values()
    assert (base.tokens_KNL.shape[1], few.tokens_KNL.shape[1], other.tokens_KNL.shape[1]) == (48, 32, 48)
    prompt = slice(0, 4)
    assert np.array_equal(base.tokens_KNL[..., prompt], other.tokens_KNL[..., prompt])
    assert not np.array_equal(base.tokens_KNL, other.tokens_KNL)


def test_no_fleet_mixes_variants(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "other")
    _, second = play(experiment)
    kinds = {run.id: run.kind for run in second}
    own, other = ({run.id for run in of_task(experiment, label, finished(experiment), "finetune")}
                  for label in experiment.tasks)  # fmt: skip
    assert not {kinds[run] for run in own} & {kinds[run] for run in other}
    left = list(second)
    while left:
        fleet = pack(left, 1, 16, {})
        assert {run.id for run in fleet} <= own or {run.id for run in fleet} <= other
        left = [run for run in left if run not in fleet]


def test_tasks_of_a_family_share_what_comes_before_their_last_stage_and_others_do_not(tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    start, own = tiny.TASK.split("[stages.finetune]")
    last = {"first": own, "second": own.replace("shifts = [7]", "shifts = [3]"), "third": own.split("rule =")[0]}
    for name, text in last.items():
        task = f'family = "kin"\n{start}[stages.finetune]{text}'.replace("tiny-task", name)
        (tmp_path / f"{name}.toml").write_text(task)
    (tmp_path / "alone.toml").write_text(tiny.TASK.replace("tiny-task", "alone"))
    paths = [str(tmp_path / f"{name}.toml") for name in (*last, "alone")]
    experiment = resolve(Asked(str(runner), tasks=paths, device="cpu"))
    done = finished(experiment)
    before, after = ({label: {run.id for run in of_task(experiment, label, done, stage)} for label in experiment.tasks}
                     for stage in ("pretrain", "finetune"))  # fmt: skip
    assert before["first"] == before["second"] == before["third"]
    assert not before["first"] & before["alone"]
    assert len(set.union(*before.values())) == 2 * 2
    assert len(set.union(*after.values())) == sum(map(len, after.values())) == 4 * 4
    data = [materials.data(experiment.tasks[label], of_task(experiment, label, done, "pretrain")) for label in last]
    for other in data[1:]:
        assert all(np.array_equal(*pair) for pair in zip(data[0], other, strict=True))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.create(tmp_path / "results")) as found:
        yield found


def test_the_engine_gives_every_fleet_the_card_of_its_runs_variant(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the base card of the name that its runs have in common."""
    experiment = with_variants(tmp_path, "", "few", "other")
    silent = SimpleNamespace(
        advance=lambda steps: None,
        finished=lambda run, result: None,
        expect=lambda coming: None,
        note=lambda text: None,
    )
    monkeypatch.setattr(Store, "sound_weights", lambda self, result: Kept("w", 1, "s"))
    crew = SimpleNamespace(workers=[SimpleNamespace(job=None)])
    claims, given = Claims(store), list[tuple[str, str, int]]()
    try:
        engine = Engine(experiment, "e", claims, silent, Interrupt(), 1, None, {})
        while job := engine._next_job(crew):  # type: ignore[arg-type]
            run = job.runs[0]
            data = materials.data(engine._task(run), job.runs)
            given.append((run.stage, job.task.label, data.tokens_KNL.shape[1]))
            own = {cell.task for cell, runs in walk(experiment, engine.done).cells.items() if run in runs}
            assert job.task.label in own
            assert job.task == experiment.tasks[job.task.label].card
            assert job.task.stages[run.stage]["rule"].items == run.examples["rule"]
            engine.done |= {one.id: ok(one) for one in job.runs}
            claims.release(one.id for one in job.runs)
    finally:
        claims.close()
    assert {label for stage, label, _ in given if stage == "finetune"} == set(experiment.tasks)
    assert {label for stage, label, _ in given if stage == "pretrain"} == {"tiny-task"}


# A run that is in two cells


def test_a_run_in_two_cells_is_a_member_of_both(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "arms.arm={of='adamw'}")
    done: dict[str, Result] = {}
    while runs := next_runs(experiment, done):
        by_id = {run.id: run for run in runs}
        own = {
            run: [cell for cell, found in walk(experiment, done).cells.items() if by_id[run] in found] for run in by_id
        }
        for run in runs:
            store.keep(run, ok(run), [], None, member=("e", own[run.id]))
        done = store.results()
    found = members.cells("e", store, done)
    assert {cell.optimizer for cell in found if cell.stage == "finetune"} == {"adamw", "arm"}
    twin, other = (trials for cell, trials in found.items() if cell.stage == "finetune")
    assert sorted(trial.id for trial in twin) == sorted(trial.id for trial in other)
    assert len(twin) == 4
    before = store.members("e")
    members.enlist(experiment, "e", store, done)  # the same again changes nothing
    assert {run: sorted(own) for run, own in store.members("e").items()} == {
        run: sorted(own) for run, own in before.items()
    }


def test_weights_of_a_run_that_stands_for_one_of_its_cells_are_kept(tmp_path: Path, store: Store) -> None:
    """An arm with fewer rates chooses one that its optimizer does not."""
    experiment = tiny.experiment(tmp_path, BOTH, "arms.arm={of='adamw', lr=[1e-3]}")
    store.weights.mkdir()
    done: dict[str, Result] = {}
    while runs := next_runs(experiment, done):
        for run in runs:
            (store.weights / f"{run.id[:40]}.safetensors").write_bytes(b"w")
            store.keep(run, rising(run), [], Kept(f"{run.id[:40]}.safetensors", 1, ""))
        done = store.results()
    members.enlist(experiment, "e", store, done)
    members.drop_weights(experiment, "e", store, "chosen")
    runs = {run.id[:40]: run for run in [*of(experiment, "adamw"), *of(experiment, "adamw", "pretrain")]}
    left = {(runs[path.stem].stage, runs[path.stem].lr) for path in store.weights.iterdir()}
    assert left == {("pretrain", 1e-3), ("finetune", 1e-3), ("finetune", 2e-3)}
