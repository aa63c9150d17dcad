"""Shared runs: by variants and tasks of a family before they differ, and by two cells of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synthbench.execution import fleet_setup
from synthbench.execution.executor import Slot
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.process_pool import ProcessPool
from synthbench.execution.scheduler import Scheduler
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.store import members
from synthbench.store.leases import Leases
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile
from tests import tiny
from tests.experiment.test_plan import finished, ok, rising, runs_of, simulate

BOTH = "optimizers=['adamw', 'variant']"
VARIANTS = """
[variants]
few = { "stages.finetune.rule.items" = 20 }
other = { "stages.finetune.rule.shifts" = [3] }
early = { "stages.pretrain.rule.shifts" = [4] }
"""


def with_variants(folder: Path, *variants: str) -> Experiment:
    runner, path = tiny.write(folder), folder / "task.toml"
    path.write_text(tiny.TASK + VARIANTS)
    tasks = [f"{path}:{variant}" if variant else str(path) for variant in variants]
    return resolve(RunRequest(str(runner), tasks=tasks, device="cpu"))


def of_task(experiment: Experiment, label: str, done: Mapping[str, Result], stage: str) -> list[Run]:
    cells = Plan(experiment, done).cells().items()
    return [run for cell, runs in cells if (cell.task, cell.stage) == (label, stage) for run in runs]


def test_variants_share_only_the_runs_of_stages_before_they_differ(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "few", "other", "early")
    assert list(experiment.tasks) == ["tiny-task", "tiny-task:few", "tiny-task:other", "tiny-task:early"]
    pretrained, finetuned = simulate(experiment)
    assert len(pretrained) == 2 + 2  # two seeds for the three tasks that agree so far, two for the other
    assert len(finetuned) == 4 * 2 * 2  # variants, rates, seeds
    assert len({run.id for run in pretrained + finetuned}) == len(pretrained) + len(finetuned)
    done = finished(experiment)
    ids = {
        label: [{run.id for run in of_task(experiment, label, done, stage)} for stage in ("pretrain", "finetune")]
        for label in experiment.tasks
    }
    pretrain_ids, finetune_ids = zip(*ids.values(), strict=True)
    assert pretrain_ids[0] == pretrain_ids[1] == pretrain_ids[2]
    assert not pretrain_ids[0] & pretrain_ids[3]
    assert len(set.union(*finetune_ids)) == sum(map(len, finetune_ids)) == 16
    assert finished(with_variants(tmp_path, "few")).keys() < done.keys()  # the same runs without the other variants


def test_variants_train_on_their_own_data_in_separate_fleets(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "few", "other")
    done = finished(experiment)
    runs = {label: of_task(experiment, label, done, "finetune") for label in experiment.tasks}
    base, few, other = (fleet_setup.data(experiment.tasks[label], task_runs[:1]) for label, task_runs in runs.items())
    assert (base.tokens_KNL.shape[1], few.tokens_KNL.shape[1], other.tokens_KNL.shape[1]) == (48, 32, 48)
    prompt = slice(0, 4)
    assert np.array_equal(base.tokens_KNL[..., prompt], other.tokens_KNL[..., prompt])
    assert not np.array_equal(base.tokens_KNL, other.tokens_KNL)
    kinds = [{run.kind for run in task_runs} for task_runs in runs.values()]
    assert len(set.union(*kinds)) == sum(map(len, kinds)) == 3


def test_tasks_of_a_family_share_every_stage_before_the_last_and_others_share_none(tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    start, finetune = tiny.TASK.split("[stages.finetune]")
    finetune_by_task = {
        "first": finetune,
        "second": finetune.replace("shifts = [7]", "shifts = [3]"),
        "third": finetune.split("rule =")[0],
    }
    for name, text in finetune_by_task.items():
        task = f'family = "kin"\n{start}[stages.finetune]{text}'.replace("tiny-task", name)
        (tmp_path / f"{name}.toml").write_text(task)
    (tmp_path / "alone.toml").write_text(tiny.TASK.replace("tiny-task", "alone"))
    paths = [str(tmp_path / f"{name}.toml") for name in (*finetune_by_task, "alone")]
    experiment = resolve(RunRequest(str(runner), tasks=paths, device="cpu"))
    done = finished(experiment)
    pretrain_ids, finetune_ids = (
        {label: {run.id for run in of_task(experiment, label, done, stage)} for label in experiment.tasks}
        for stage in ("pretrain", "finetune")
    )
    assert pretrain_ids["first"] == pretrain_ids["second"] == pretrain_ids["third"]
    assert not pretrain_ids["first"] & pretrain_ids["alone"]
    assert len(set.union(*pretrain_ids.values())) == 2 * 2
    assert len(set.union(*finetune_ids.values())) == sum(map(len, finetune_ids.values())) == 4 * 4
    data = [
        fleet_setup.data(experiment.tasks[label], of_task(experiment, label, done, "pretrain"))
        for label in finetune_by_task
    ]
    for other in data[1:]:
        assert all(np.array_equal(*pair) for pair in zip(data[0], other, strict=True))


def test_the_scheduler_gives_every_fleet_the_card_of_its_variant(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs of all variants have the same task name."""
    experiment = with_variants(tmp_path, "", "few", "other")
    silent = SimpleNamespace(**dict.fromkeys(("advance", "finished", "expect", "note"), lambda *arguments: None))
    monkeypatch.setattr(Store, "valid_weights", lambda self, result: WeightFile("w", 1, "s"))
    executor, done = SimpleNamespace(slots=[Slot()]), dict[str, Result]()
    leases, jobs = Leases(store), list[tuple[str, str, int]]()
    try:
        scheduler = Scheduler(
            plan=Plan(experiment, done), done=done, experiment_id="e", leases=leases, watcher=silent, interrupt=Interrupt(),
            make_executor=ProcessPool, slots=1,
        )  # fmt: skip
        while job := scheduler._next_job(executor.slots[0], executor):  # type: ignore[arg-type]
            first = job.runs[0]
            data = fleet_setup.data(scheduler._task(first), job.runs)
            jobs.append((first.stage, job.task.label, data.tokens_KNL.shape[1]))
            labels = {cell.task for cell, runs in Plan(experiment, done).cells().items() if first in runs}
            assert job.task.label in labels
            assert job.task == experiment.tasks[job.task.label].card
            assert job.task.stages[first.stage]["rule"].items == first.examples["rule"]
            scheduler._finished([(run, ok(run)) for run in job.runs])
            leases.release(run.id for run in job.runs)
    finally:
        leases.close()
    assert {label for stage, label, _ in jobs if stage == "finetune"} == set(experiment.tasks)
    assert {label for stage, label, _ in jobs if stage == "pretrain"} == {"tiny-task"}


# A run in two cells


def test_a_run_in_two_cells_is_a_member_of_both(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "variants.variant={of='adamw'}")
    done: dict[str, Result] = {}
    while runs := Plan(experiment, done).ready():
        planned = Plan(experiment, done).cells()
        for run in runs:
            cells_of_run = [cell for cell, cell_runs in planned.items() if run in cell_runs]
            store.keep(run, ok(run), [], None, member=("e", cells_of_run))
        done = store.results()
    cells = members.cells("e", store, done).trials
    assert {cell.optimizer for cell in cells if cell.stage == "finetune"} == {"adamw", "variant"}
    first, second = (trials for cell, trials in cells.items() if cell.stage == "finetune")
    assert sorted(trial.id for trial in first) == sorted(trial.id for trial in second)
    assert len(first) == 4
    before = {run: sorted(run_cells) for run, run_cells in store.members("e").items()}
    members.enlist(experiment, "e", store, done)  # changes nothing
    assert {run: sorted(run_cells) for run, run_cells in store.members("e").items()} == before


def test_weights_of_a_run_that_one_of_its_cells_chooses_are_kept(tmp_path: Path, store: Store) -> None:
    """A variant with fewer rates chooses a rate that its optimizer does not choose."""
    experiment = tiny.experiment(tmp_path, BOTH, "variants.variant={of='adamw', lr=[1e-3]}")
    store.weights.mkdir()
    done: dict[str, Result] = {}
    while runs := Plan(experiment, done).ready():
        for run in runs:
            (store.weights / f"{run.id[:40]}.safetensors").write_bytes(b"w")
            store.keep(run, rising(run), [], WeightFile(f"{run.id[:40]}.safetensors", 1, ""))
        done = store.results()
    members.enlist(experiment, "e", store, done)
    members.drop_weights(experiment, "e", store, "chosen")
    runs = {run.id[:40]: run for run in [*runs_of(experiment, "adamw"), *runs_of(experiment, "adamw", "pretrain")]}
    remaining = {(runs[path.stem].stage, runs[path.stem].lr) for path in store.weights.iterdir()}
    assert remaining == {("pretrain", 1e-3), ("finetune", 1e-3), ("finetune", 2e-3)}
