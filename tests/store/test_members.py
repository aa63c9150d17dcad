"""The cells of an experiment, as commands with other seeds, killed or finished, have left them in the store."""

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


def finish(store: Store, experiment: Experiment, learning: Mapping[float, float], wanted: int | None = None) -> None:
    """Finishes runs in planned order (so many of the last stage), whose learning is a matter of their rate."""
    last, count = experiment.card.stages[-1].name, 0
    done = store.results()
    while runs := [
        run for run in Plan(experiment, done).ready() if run.stage != last or wanted is None or count < wanted
    ]:
        for run in runs:
            if run.stage == last:
                if count == wanted:
                    continue
                count += 1
            scores = {"validation_learning": learning.get(run.lr, 0.5), "validation_loss": 1.0}
            store.keep(run, Result(run.id, "ok", scores), [], None)
        done = store.results()
    members.enlist(experiment, NAME, store, done)


def last_stage(store: Store, experiment: Experiment) -> list[tuple[int, float]]:
    """Seed and rate of the runs in the only cell of the last stage."""
    identities, last = store.identities(), experiment.card.stages[-1].name
    (trials,) = (found for cell, found in members.cells(NAME, store, store.results()).items() if cell.stage == last)
    return sorted((identities[trial.id]["seed"], trial.lr) for trial in trials)


def test_a_seed_without_all_its_rates_is_left_out_of_a_cell(tmp_path: Path, store: Store) -> None:
    """Rates are compared over the same seeds: a killed command leaves some without."""
    experiment = tiny.experiment(tmp_path)
    finish(store, experiment, {}, wanted=3)
    assert len(store.results()) == 2 + 3
    (one, lr), (other, higher) = last_stage(store, experiment)
    assert one == other
    assert lr < higher
    finish(store, experiment, {})
    assert len(last_stage(store, experiment)) == 4


def test_what_started_from_a_rate_that_is_no_longer_chosen_is_left_out(tmp_path: Path, store: Store) -> None:
    """With more seeds another rate of pretraining may be the best."""
    rates = "stages.pretrain.lr=[1e-4, 2e-4]"
    finish(store, tiny.experiment(tmp_path, rates, seeds=[0]), {1e-4: 0.9, 2e-4: 0.1})
    more = tiny.experiment(tmp_path, rates, seeds=[0, 1, 2])
    for run in Plan(more, store.results()).ready():  # the others say the opposite
        scores = {"validation_learning": 0.95 if run.lr == 2e-4 else 0.0, "validation_loss": 1.0}
        store.keep(run, Result(run.id, "ok", scores), [], None)
    finish(store, more, {})
    assert len(store.results()) == 6 + 2 + 6  # two finetunings of seed 0 started from the other rate
    assert last_stage(store, more) == [(seed, lr) for seed in range(3) for lr in (1e-3, 2e-3)]


def test_a_command_drops_the_weights_of_its_own_runs_alone(tmp_path: Path, store: Store) -> None:
    store.weights.mkdir()
    all_seeds, one = tiny.experiment(tmp_path), tiny.experiment(tmp_path, seeds=[0])
    finish(store, all_seeds, {})
    for run in Plan(all_seeds, {}).remaining():
        (store.weights / f"{run.id[:40]}.safetensors").write_bytes(b"w")
        store.keep(run, Result(run.id, "ok"), [], WeightFile(f"{run.id[:40]}.safetensors", 1, ""))
    members.drop_weights(one, NAME, store, "none")
    own, every = ({run.id[:40] for run in Plan(experiment, {}).remaining()} for experiment in (one, all_seeds))
    assert {path.stem for path in store.weights.iterdir()} == every - own != set()


def test_a_run_never_starts_from_fresh_weights_for_its_parents(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path)
    child: Run = next(run for run in Plan(experiment, {}).remaining() if run.parent)
    task = experiment.tasks["tiny-task"]
    with pytest.raises(MissingWeights):
        fleet_setup.build(task, [child], [None], tmp_path, torch.device("cpu"))
