"""What is finished is not trained again, unless its weights are gone and a run to come would start from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from synthbench.commands import startable
from synthbench.experiment.materials import Kept
from synthbench.experiment.plan import Experiment, forecast, next_runs
from synthbench.experiment.resolve import Asked, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.experiment.store import Store
from tests.experiment import tiny

SCORES = {"validation_learning": 0.5, "validation_loss": 1.0}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.create(tmp_path / "results")) as found:
        found.weights.mkdir()
        yield found


def finish(store: Store, runs: list[Run], kept: bool) -> None:
    """Keeps these runs as finished, with or without their weights."""
    for run in runs:
        file = Kept(f"{run.id}.safetensors", 1, sha256(b"w").hexdigest()) if kept else None
        if file:
            (store.weights / file.name).write_bytes(b"w")
        store.keep(run, Result(run.id, "ok", SCORES, weights=file and file.name), [], file)


def stages(runs: list[Run]) -> set[str]:
    return {run.stage for run in runs}


def three(folder: Path) -> Experiment:
    """An experiment of three stages."""
    path = tiny.write(folder, tiny.RUNNER.replace("[scales", '[[stages]]\nname = "again"\nsteps = 5\nbatch = 16\n'
        'schedule = "constant"\nlr = [1e-3]\n\n[scales'))  # fmt: skip
    third = tiny.TASK.split("[stages.finetune]")[1].replace("items = 36", "items = 24")
    task = tiny.TASK.replace("syllables = 16", "syllables = 24")
    (folder / "task.toml").write_text(f"{task}\n[stages.again]{third}")
    return resolve(Asked(str(path), settings=["stages.finetune.lr=[1e-3]"], device="cpu"))


def test_what_is_finished_stays_finished_without_weights_where_nothing_starts_from_it(
    tmp_path: Path, store: Store
) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, forecast(experiment, {}), kept=False)
    assert forecast(experiment, startable(experiment, store)) == []


def test_parents_whose_weights_are_kept_are_not_trained_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    finish(store, [run for run in forecast(experiment, {}) if run.stage == "pretrain"], kept=True)
    coming = forecast(experiment, startable(experiment, store))
    assert stages(coming) == {"finetune"}
    assert coming


def test_parents_whose_weights_are_gone_are_trained_again_and_finished_children_are_not(
    tmp_path: Path, store: Store
) -> None:
    finish(store, forecast(tiny.experiment(tmp_path), {}), kept=False)
    more = tiny.experiment(tmp_path, "stages.finetune.update=['full', 'lora-4']")
    coming = forecast(more, startable(more, store))
    assert stages(coming) == {"pretrain", "finetune"}
    assert {run.update for run in coming if run.stage == "finetune"} == {"lora-4"}


def test_of_several_rates_only_the_chosen_parents_are_trained_again(tmp_path: Path, store: Store) -> None:
    """Another rate must not pass for the chosen one while that is trained again."""
    rates = "stages.pretrain.lr=[1e-3, 2e-3, 4e-3]"
    experiment = tiny.experiment(tmp_path, rates)
    for run in forecast(experiment, {}):
        if run.stage == "pretrain":
            scores = SCORES | {"validation_learning": 0.9 if run.lr == 2e-3 else 0.5}
            store.keep(run, Result(run.id, "ok", scores), [], None)
    finish(store, forecast(experiment, store.results()), kept=False)
    more = tiny.experiment(tmp_path, rates, "stages.finetune.update=['full', 'lora-4']")
    again = next_runs(more, startable(more, store))
    assert {(run.stage, run.lr, run.seed) for run in again} == {("pretrain", 2e-3, 0), ("pretrain", 2e-3, 1)}


def test_only_the_seeds_that_need_them_get_their_parents_again(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    runs = forecast(experiment, {})
    finish(store, [run for run in runs if (run.stage, run.seed) != ("finetune", 1)], kept=False)
    assert {run.seed for run in forecast(experiment, startable(experiment, store))} == {1}


def test_parents_of_parents_whose_weights_are_gone_are_trained_again(tmp_path: Path, store: Store) -> None:
    experiment = three(tmp_path)
    runs = forecast(experiment, {})
    assert stages(runs) == {"pretrain", "finetune", "again"}
    finish(store, [run for run in runs if run.stage != "again"], kept=False)
    assert stages(forecast(experiment, startable(experiment, store))) == {"pretrain", "finetune", "again"}


def test_interrupted_and_diverged_runs_are_told_apart(tmp_path: Path, store: Store) -> None:
    experiment = tiny.experiment(tmp_path)
    first, second = (run for run in forecast(experiment, {}) if run.stage == "pretrain")
    store.keep(first, Result(first.id, "interrupted"), [], None)
    store.keep(second, Result(second.id, "diverged"), [], None)
    coming = forecast(experiment, startable(experiment, store))
    assert {run.seed for run in coming} == {first.seed}
