"""A finished run is trained again only if a remaining run starts from its weights and they are missing."""

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


def finish(store: Store, runs: list[Run], with_weights: bool) -> None:
    """Stores these runs as finished, with or without their weights."""
    store.weights.mkdir()
    for run in runs:
        file = WeightFile(f"{run.id}.safetensors", 1, sha256(b"w").hexdigest()) if with_weights else None
        if file:
            (store.weights / file.name).write_bytes(b"w")
        store.keep(run, Result(run.id, "ok", SCORES, weights=file and file.name), [], file)


def remaining(experiment: Experiment, store: Store) -> list[Run]:
    return Plan(experiment, usable_results(experiment, store)).remaining()


def test_parents_with_weights_are_not_trained_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, [run for run in Plan(experiment, {}).remaining() if run.stage == "pretrain"], with_weights=True)
    assert {run.stage for run in remaining(experiment, store)} == {"finetune"}


def test_parents_without_weights_are_trained_again_only_if_a_run_starts_from_them(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, Plan(experiment, {}).remaining(), with_weights=False)
    assert remaining(experiment, store) == []
    extended = tiny.experiment(tmp_path, "stages.finetune.update=['full', 'lora-4']")
    assert {(run.stage, run.update) for run in remaining(extended, store)} == {
        ("pretrain", "full"),
        ("finetune", "lora-4"),
    }


def test_only_parents_at_the_chosen_rate_are_trained_again(tmp_path: Path, store: Store) -> None:
    """The chosen rate stays chosen while it is trained again."""
    rates = "stages.pretrain.lr=[1e-3, 2e-3, 4e-3]"
    experiment = tiny.experiment(tmp_path, rates)
    for run in Plan(experiment, {}).remaining():
        if run.stage == "pretrain":
            scores = SCORES | {"validation_learning": 0.9 if run.lr == 2e-3 else 0.5}
            store.keep(run, Result(run.id, "ok", scores), [], None)
    finish(store, Plan(experiment, store.results()).remaining(), with_weights=False)
    extended = tiny.experiment(tmp_path, rates, "stages.finetune.update=['full', 'lora-4']")
    retrained = Plan(extended, usable_results(extended, store)).ready()
    assert {(run.stage, run.lr, run.seed) for run in retrained} == {("pretrain", 2e-3, 0), ("pretrain", 2e-3, 1)}


def test_only_seeds_with_missing_runs_train_their_parents_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    runs = Plan(experiment, {}).remaining()
    finish(store, [run for run in runs if (run.stage, run.seed) != ("finetune", 1)], with_weights=False)
    assert {run.seed for run in remaining(experiment, store)} == {1}


def test_parents_of_parents_without_weights_are_trained_again(tmp_path: Path, store: Store) -> None:
    third = '[[stages]]\nname = "again"\nsteps = 5\nbatch = 16\nschedule = "constant"\nlr = [1e-3]\n\n[scales'
    path = tiny.write(tmp_path, tiny.RUNNER.replace("[scales", third))
    data = tiny.TASK.split("[stages.finetune]")[1].replace("items = 36", "items = 24")
    task = tiny.TASK.replace("syllables = 16", "syllables = 24")
    (tmp_path / "task.toml").write_text(f"{task}\n[stages.again]{data}")
    experiment = resolve(RunRequest(str(path), settings=["stages.finetune.lr=[1e-3]"], device="cpu"))
    runs = Plan(experiment, {}).remaining()
    finish(store, [run for run in runs if run.stage != "again"], with_weights=False)
    for planned in (runs, remaining(experiment, store)):
        assert {run.stage for run in planned} == {"pretrain", "finetune", "again"}


def test_an_interrupted_run_is_trained_again_and_a_diverged_one_is_not(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    first, second = (run for run in Plan(experiment, {}).remaining() if run.stage == "pretrain")
    store.keep(first, Result(first.id, "interrupted"), [], None)
    store.keep(second, Result(second.id, "diverged"), [], None)
    assert {run.seed for run in remaining(experiment, store)} == {first.seed}
