"""Runs that are shared: by variants and tasks of a family before they differ, by two cells of one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synthbench.execution import fleet_setup
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
from tests.experiment.test_plan import finished, of, ok, play, rising

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
    tasks = [f"{path}:{one}" if one else str(path) for one in variants]
    return resolve(RunRequest(str(runner), tasks=tasks, device="cpu"))


def of_task(experiment: Experiment, label: str, done: Mapping[str, Result], stage: str) -> list[Run]:
    found = Plan(experiment, done).cells().items()
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
    assert finished(with_variants(tmp_path, "few")).keys() < done.keys()  # found again whatever else is asked for


def test_variants_train_on_their_own_data_in_fleets_of_their_own(tmp_path: Path) -> None:
    experiment = with_variants(tmp_path, "", "few", "other")
    done = finished(experiment)
    runs = {label: of_task(experiment, label, done, "finetune") for label in experiment.tasks}
    base, few, other = (fleet_setup.data(experiment.tasks[label], own[:1]) for label, own in runs.items())
    assert (base.tokens_KNL.shape[1], few.tokens_KNL.shape[1], other.tokens_KNL.shape[1]) == (48, 32, 48)
    prompt = slice(0, 4)
    assert np.array_equal(base.tokens_KNL[..., prompt], other.tokens_KNL[..., prompt])
    assert not np.array_equal(base.tokens_KNL, other.tokens_KNL)
    kinds = [{run.kind for run in own} for own in runs.values()]
    assert len(set.union(*kinds)) == sum(map(len, kinds)) == 3


def test_tasks_of_a_family_share_what_comes_before_their_last_stage_and_others_do_not(tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    start, own = tiny.TASK.split("[stages.finetune]")
    last = {"first": own, "second": own.replace("shifts = [7]", "shifts = [3]"), "third": own.split("rule =")[0]}
    for name, text in last.items():
        task = f'family = "kin"\n{start}[stages.finetune]{text}'.replace("tiny-task", name)
        (tmp_path / f"{name}.toml").write_text(task)
    (tmp_path / "alone.toml").write_text(tiny.TASK.replace("tiny-task", "alone"))
    paths = [str(tmp_path / f"{name}.toml") for name in (*last, "alone")]
    experiment = resolve(RunRequest(str(runner), tasks=paths, device="cpu"))
    done = finished(experiment)
    before, after = ({label: {run.id for run in of_task(experiment, label, done, stage)} for label in experiment.tasks}
                     for stage in ("pretrain", "finetune"))  # fmt: skip
    assert before["first"] == before["second"] == before["third"]
    assert not before["first"] & before["alone"]
    assert len(set.union(*before.values())) == 2 * 2
    assert len(set.union(*after.values())) == sum(map(len, after.values())) == 4 * 4
    data = [fleet_setup.data(experiment.tasks[label], of_task(experiment, label, done, "pretrain")) for label in last]
    for other in data[1:]:
        assert all(np.array_equal(*pair) for pair in zip(data[0], other, strict=True))


def test_the_scheduler_gives_every_fleet_the_card_of_its_runs_variant(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the base card of the name that its runs have in common."""
    experiment = with_variants(tmp_path, "", "few", "other")
    silent = SimpleNamespace(**dict.fromkeys(("advance", "finished", "expect", "note"), lambda *given: None))
    monkeypatch.setattr(Store, "valid_weights", lambda self, result: WeightFile("w", 1, "s"))
    executor, done = SimpleNamespace(slots=[SimpleNamespace(job=None)]), dict[str, Result]()
    leases, given = Leases(store), list[tuple[str, str, int]]()
    try:
        scheduler = Scheduler(
            plan=Plan(experiment, done), done=done, name="e", leases=leases, watcher=silent, interrupt=Interrupt(),
            make_executor=ProcessPool, slots=1,
        )  # fmt: skip
        while job := scheduler._next_job(executor):  # type: ignore[arg-type]
            run = job.runs[0]
            data = fleet_setup.data(scheduler._task(run), job.runs)
            given.append((run.stage, job.task.label, data.tokens_KNL.shape[1]))
            own = {cell.task for cell, runs in Plan(experiment, done).cells().items() if run in runs}
            assert job.task.label in own
            assert job.task == experiment.tasks[job.task.label].card
            assert job.task.stages[run.stage]["rule"].items == run.examples["rule"]
            done |= {one.id: ok(one) for one in job.runs}
            leases.release(one.id for one in job.runs)
    finally:
        leases.close()
    assert {label for stage, label, _ in given if stage == "finetune"} == set(experiment.tasks)
    assert {label for stage, label, _ in given if stage == "pretrain"} == {"tiny-task"}


# A run that is in two cells


def test_a_run_in_two_cells_is_a_member_of_both(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "variants.variant={of='adamw'}")
    done: dict[str, Result] = {}
    while runs := Plan(experiment, done).ready():
        by_id = {run.id: run for run in runs}
        own = {
            run: [cell for cell, found in Plan(experiment, done).cells().items() if by_id[run] in found]
            for run in by_id
        }
        for run in runs:
            store.keep(run, ok(run), [], None, member=("e", own[run.id]))
        done = store.results()
    found = members.cells("e", store, done)
    assert {cell.optimizer for cell in found if cell.stage == "finetune"} == {"adamw", "variant"}
    twin, other = (trials for cell, trials in found.items() if cell.stage == "finetune")
    assert sorted(trial.id for trial in twin) == sorted(trial.id for trial in other)
    assert len(twin) == 4
    before = store.members("e")
    members.enlist(experiment, "e", store, done)  # the same again changes nothing
    assert {run: sorted(own) for run, own in store.members("e").items()} == {
        run: sorted(own) for run, own in before.items()
    }


def test_weights_of_a_run_that_stands_for_one_of_its_cells_are_kept(tmp_path: Path, store: Store) -> None:
    """A variant with fewer rates chooses one that its optimizer does not."""
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
    runs = {run.id[:40]: run for run in [*of(experiment, "adamw"), *of(experiment, "adamw", "pretrain")]}
    left = {(runs[path.stem].stage, runs[path.stem].lr) for path in store.weights.iterdir()}
    assert left == {("pretrain", 1e-3), ("finetune", 1e-3), ("finetune", 2e-3)}
