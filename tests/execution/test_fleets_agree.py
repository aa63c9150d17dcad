"""A run comes out bitwise the same alone and in any fleet: weights, losses and scores."""

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


def trained(experiment: Experiment, runs: list[Run], parents: dict[str, Trained], folder: Path) -> list[Trained]:
    task = experiment.tasks["tiny-task"].card
    kept = [parents[run.parent].weights if run.parent else None for run in runs]
    return run_fleet(Job(runs, task, kept, folder, [1] * len(runs)), "cpu")


def assert_same(one: Trained, other: Trained) -> None:
    assert one.result.status == "ok"
    for part in ("run", "status", "scores", "path"):
        assert getattr(one.result, part) == getattr(other.result, part)
    assert one.curve == other.curve
    assert one.weights is not None
    assert other.weights is not None
    assert one.weights.sha256 == other.weights.sha256


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_comes_out_bitwise_the_same_alone_and_in_any_fleet(tmp_path: Path, optimizer: str) -> None:
    settings = f"stages.finetune.update={list(UPDATES)}", f"optimizers=['{optimizer}']", "seeds=[0, 3]", *SHORT
    experiment = tiny.experiment(tmp_path, *settings)
    together, alone = tmp_path / "together", tmp_path / "alone"
    starts = Plan(experiment, {}).ready()
    parents = {found.result.run: found for found in trained(experiment, starts, {}, together)}
    for run in starts:
        assert_same(*trained(experiment, [run], {}, alone), parents[run.id])
    children = Plan(experiment, {run: found.result for run, found in parents.items()}).ready()
    for update in UPDATES:
        runs = [run for run in children if run.update == update]
        assert len(runs) == 4
        fleet = trained(experiment, runs, parents, together)
        pair = trained(experiment, runs[2:0:-1], parents, alone)  # another size, another place
        assert_same(*trained(experiment, runs[:1], parents, alone), fleet[0])
        for one, other in zip(pair, fleet[2:0:-1], strict=True):
            assert_same(one, other)


def test_what_training_changed_is_in_the_file_and_full_hidden_keeps_the_rest(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.update=['full', 'full-hidden']", "seeds=1", *SHORT)
    (start,) = Plan(experiment, {}).ready()
    (parent,) = trained(experiment, [start], {}, tmp_path)
    before = load_file(tmp_path / str(parent.result.weights))
    children = Plan(experiment, {start.id: parent.result}).ready()
    for update, moved in (("full", {"hidden", "embedding"}), ("full-hidden", {"hidden"})):
        run = next(run for run in children if run.update == update)
        (child,) = trained(experiment, [run], {start.id: parent}, tmp_path)
        after = load_file(tmp_path / str(child.result.weights))
        assert after.keys() == before.keys()
        changed = {name for name in before if (before[name] != after[name]).any()}
        assert changed == {name for name in before if ("hidden" if "layers." in name else "embedding") in moved}
