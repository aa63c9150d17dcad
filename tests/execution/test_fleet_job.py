"""A run is bitwise the same alone and in any fleet: weights, losses and scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from synthbench.execution.fleet_job import Job, Trained, run_fleet
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Run
from tests import tiny

SHORT = ("stages.pretrain.steps=4", "stages.finetune.steps=4")
UPDATES = ("full", "full-hidden", "lora-1", "lora-4")


def train(experiment: Experiment, runs: list[Run], parents: dict[str, Trained], folder: Path) -> list[Trained]:
    task = experiment.tasks["tiny-task"].card
    parent_weights = [parents[run.parent].weights if run.parent else None for run in runs]
    return run_fleet(Job(runs, task, parent_weights, folder, [1] * len(runs)), "cpu")


def assert_same(trained: Trained, expected: Trained) -> None:
    assert trained.result.status == "ok"
    for field in ("run", "status", "scores", "path"):
        assert getattr(trained.result, field) == getattr(expected.result, field)
    assert trained.curve == expected.curve
    assert trained.weights is not None
    assert expected.weights is not None
    assert trained.weights.sha256 == expected.weights.sha256


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_is_bitwise_the_same_alone_and_in_any_fleet(tmp_path: Path, optimizer: str) -> None:
    settings = f"stages.finetune.update={list(UPDATES)}", f"optimizers=['{optimizer}']", "seeds=[0, 3]", *SHORT
    experiment = tiny.experiment(tmp_path, *settings)
    together, alone = tmp_path / "together", tmp_path / "alone"
    starts = Plan(experiment, {}).ready()
    parents = {parent.result.run: parent for parent in train(experiment, starts, {}, together)}
    for run in starts:
        assert_same(*train(experiment, [run], {}, alone), parents[run.id])
    children = Plan(experiment, {run: parent.result for run, parent in parents.items()}).ready()
    for update in UPDATES:
        runs = [run for run in children if run.update == update]
        assert len(runs) == 4
        fleet = train(experiment, runs, parents, together)
        pair = train(experiment, runs[2:0:-1], parents, alone)  # another fleet size and position
        assert_same(*train(experiment, runs[:1], parents, alone), fleet[0])
        for trained, expected in zip(pair, fleet[2:0:-1], strict=True):
            assert_same(trained, expected)


def test_trained_weights_are_saved_and_full_hidden_leaves_the_embedding(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.update=['full', 'full-hidden']", "seeds=1", *SHORT)
    (start,) = Plan(experiment, {}).ready()
    (parent,) = train(experiment, [start], {}, tmp_path)
    parent_weights = load_file(tmp_path / str(parent.result.weights))
    children = Plan(experiment, {start.id: parent.result}).ready()
    for update, moved in (("full", {"hidden", "embedding"}), ("full-hidden", {"hidden"})):
        run = next(run for run in children if run.update == update)
        (child,) = train(experiment, [run], {start.id: parent}, tmp_path)
        child_weights = load_file(tmp_path / str(child.result.weights))
        assert child_weights.keys() == parent_weights.keys()
        changed = {name for name in parent_weights if (parent_weights[name] != child_weights[name]).any()}
        assert changed == {name for name in parent_weights if ("hidden" if "layers." in name else "embedding") in moved}
