"""The cells of an experiment in the store, after commands with other seeds and after a killed command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from synthbench.execution import fleet_setup
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Result, Run
from synthbench.store import members
from synthbench.store.results import Store
from synthbench.store.weights import MissingWeights, WeightFile
from tests import tiny

NAME = "experiment"


def finish(store: Store, experiment: Experiment, learning: Mapping[float, float], limit: int | None = None) -> None:
    """Stores results in planned order, at most `limit` of them in the last stage. `learning` maps a rate to its score."""
    last, count = experiment.card.stages[-1].name, 0
    done = store.results()
    while runs := [
        run for run in Plan(experiment, done).ready() if run.stage != last or limit is None or count < limit
    ]:
        for run in runs:
            if run.stage == last:
                if count == limit:
                    continue
                count += 1
            scores = {"validation_learning": learning.get(run.lr, 0.5), "validation_loss": 1.0}
            store.keep(run, Result(run.id, "ok", scores), [], None)
        done = store.results()
    members.enlist(experiment, NAME, store, done)


def finetuned(store: Store, experiment: Experiment) -> list[tuple[int, float]]:
    """The seed and rate of every run in the only cell of the last stage."""
    identities, stage = store.identities(), experiment.card.stages[-1].name
    (trials,) = (
        runs for cell, runs in members.cells(NAME, store, store.results()).trials.items() if cell.stage == stage
    )
    return sorted((identities[trial.id]["seed"], trial.lr) for trial in trials)


def test_a_seed_without_all_its_rates_is_left_out_of_a_cell(tmp_path: Path, store: Store) -> None:
    """Rates are compared over the same seeds, and a killed command leaves seeds incomplete."""
    experiment = tiny.experiment(tmp_path)
    finish(store, experiment, {}, limit=3)
    assert len(store.results()) == 2 + 3
    (seed, low), (other_seed, high) = finetuned(store, experiment)
    assert seed == other_seed
    assert low < high
    finish(store, experiment, {})
    assert len(finetuned(store, experiment)) == 4


def test_runs_from_a_rate_that_is_no_longer_chosen_are_left_out(tmp_path: Path, store: Store) -> None:
    """With more seeds, another pretraining rate may be the best."""
    rates = "stages.pretrain.lr=[1e-4, 2e-4]"
    finish(store, tiny.experiment(tmp_path, rates, seeds=[0]), {1e-4: 0.9, 2e-4: 0.1})
    more_seeds = tiny.experiment(tmp_path, rates, seeds=[0, 1, 2])
    for run in Plan(more_seeds, store.results()).ready():  # the new seeds prefer the other rate
        scores = {"validation_learning": 0.95 if run.lr == 2e-4 else 0.0, "validation_loss": 1.0}
        store.keep(run, Result(run.id, "ok", scores), [], None)
    finish(store, more_seeds, {})
    assert len(store.results()) == 6 + 2 + 6  # two finetuning runs of seed 0 started from the other rate
    assert finetuned(store, more_seeds) == [(seed, lr) for seed in range(3) for lr in (1e-3, 2e-3)]


def test_a_command_drops_weights_of_its_own_experiment_only(tmp_path: Path, store: Store) -> None:
    store.weights.mkdir()
    all_seeds, one_seed = tiny.experiment(tmp_path), tiny.experiment(tmp_path, seeds=[0])
    finish(store, all_seeds, {})
    for run in Plan(all_seeds, {}).remaining():
        (store.weights / f"{run.id[:40]}.safetensors").write_bytes(b"w")
        store.keep(run, Result(run.id, "ok"), [], WeightFile(f"{run.id[:40]}.safetensors", 1, ""))
    members.drop_weights(one_seed, NAME, store, "none")
    dropped = {run.id[:40] for run in Plan(one_seed, {}).remaining()}
    every = {run.id[:40] for run in Plan(all_seeds, {}).remaining()}
    assert {path.stem for path in store.weights.iterdir()} == every - dropped != set()


def test_a_run_without_its_parents_weights_is_refused(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path)
    child: Run = next(run for run in Plan(experiment, {}).remaining() if run.parent)
    task = experiment.tasks["tiny-task"]
    with pytest.raises(MissingWeights):
        fleet_setup.build(task, [child], [None], tmp_path, torch.device("cpu"))
