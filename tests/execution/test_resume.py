"""What is finished is not trained again, unless its weights are gone and a run to come would start from them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.store.members import usable_results
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile
from tests import tiny

SCORES = {"validation_learning": 0.5, "validation_loss": 1.0}


def finish(store: Store, runs: list[Run], kept: bool) -> None:
    """Keeps these runs as finished, with or without their weights."""
    store.weights.mkdir()
    for run in runs:
        file = WeightFile(f"{run.id}.safetensors", 1, sha256(b"w").hexdigest()) if kept else None
        if file:
            (store.weights / file.name).write_bytes(b"w")
        store.keep(run, Result(run.id, "ok", SCORES, weights=file and file.name), [], file)


def coming(experiment: Experiment, store: Store) -> list[Run]:
    return Plan(experiment, usable_results(experiment, store)).remaining()


def test_parents_whose_weights_are_kept_are_not_trained_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, [run for run in Plan(experiment, {}).remaining() if run.stage == "pretrain"], kept=True)
    assert {run.stage for run in coming(experiment, store)} == {"finetune"}


def test_parents_without_weights_are_trained_again_where_something_starts_from_them_and_what_is_finished_is_not(
    tmp_path: Path, store: Store
) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, Plan(experiment, {}).remaining(), kept=False)
    assert coming(experiment, store) == []
    more = tiny.experiment(tmp_path, "stages.finetune.update=['full', 'lora-4']")
    assert {(run.stage, run.update) for run in coming(more, store)} == {("pretrain", "full"), ("finetune", "lora-4")}


def test_of_several_rates_only_the_chosen_parents_are_trained_again(tmp_path: Path, store: Store) -> None:
    """Another rate must not pass for the chosen one while that is trained again."""
    rates = "stages.pretrain.lr=[1e-3, 2e-3, 4e-3]"
    experiment = tiny.experiment(tmp_path, rates)
    for run in Plan(experiment, {}).remaining():
        if run.stage == "pretrain":
            scores = SCORES | {"validation_learning": 0.9 if run.lr == 2e-3 else 0.5}
            store.keep(run, Result(run.id, "ok", scores), [], None)
    finish(store, Plan(experiment, store.results()).remaining(), kept=False)
    more = tiny.experiment(tmp_path, rates, "stages.finetune.update=['full', 'lora-4']")
    again = Plan(more, usable_results(more, store)).ready()
    assert {(run.stage, run.lr, run.seed) for run in again} == {("pretrain", 2e-3, 0), ("pretrain", 2e-3, 1)}


def test_only_the_seeds_that_need_them_get_their_parents_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    runs = Plan(experiment, {}).remaining()
    finish(store, [run for run in runs if (run.stage, run.seed) != ("finetune", 1)], kept=False)
    assert {run.seed for run in coming(experiment, store)} == {1}


def test_parents_of_parents_whose_weights_are_gone_are_trained_again(tmp_path: Path, store: Store) -> None:
    third = '[[stages]]\nname = "again"\nsteps = 5\nbatch = 16\nschedule = "constant"\nlr = [1e-3]\n\n[scales'
    path = tiny.write(tmp_path, tiny.RUNNER.replace("[scales", third))
    data = tiny.TASK.split("[stages.finetune]")[1].replace("items = 36", "items = 24")
    task = tiny.TASK.replace("syllables = 16", "syllables = 24")
    (tmp_path / "task.toml").write_text(f"{task}\n[stages.again]{data}")
    experiment = resolve(RunRequest(str(path), settings=["stages.finetune.lr=[1e-3]"], device="cpu"))
    runs = Plan(experiment, {}).remaining()
    finish(store, [run for run in runs if run.stage != "again"], kept=False)
    for found in (runs, coming(experiment, store)):
        assert {run.stage for run in found} == {"pretrain", "finetune", "again"}


def test_interrupted_and_diverged_runs_are_told_apart(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    first, second = (run for run in Plan(experiment, {}).remaining() if run.stage == "pretrain")
    store.keep(first, Result(first.id, "interrupted"), [], None)
    store.keep(second, Result(second.id, "diverged"), [], None)
    assert {run.seed for run in coming(experiment, store)} == {first.seed}
