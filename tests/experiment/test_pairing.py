"""Seeds are paired: a seed has the same data, order and initialization under every optimizer, rate and update."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbench.execution import fleet_setup
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Run
from tests import tiny

PURPOSES = ("initialization", "adapters")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return tiny.experiment(
        tmp_path, "optimizers=['adamw', 'muon']", "stages.finetune.update=['full', 'lora-4']",
        "stages.pretrain.lr=[1e-3, 2e-3]",
    )  # fmt: skip


def groups(experiment: Experiment) -> list[list[Run]]:
    """Runs of one stage and seed, whatever else they differ in."""
    found: dict[tuple[str, int], list[Run]] = {}
    for run in Plan(experiment, {}).remaining():
        found.setdefault((run.stage, run.seed), []).append(run)
    return list(found.values())


def test_a_seed_has_random_seeds_of_its_own_by_stage_and_purpose_under_every_optimizer_rate_and_update(
    experiment: Experiment,
) -> None:
    for runs in groups(experiment):
        assert len(runs) >= 4
        for purpose in PURPOSES:
            assert len({fleet_setup.seed_of(run, purpose) for run in runs}) == 1
    firsts = [runs[0] for runs in groups(experiment)]
    assert len({fleet_setup.seed_of(run, purpose) for run in firsts for purpose in PURPOSES}) == len(firsts) * 2


def test_a_seed_sees_items_and_an_order_of_its_own_under_every_optimizer_rate_and_update(
    experiment: Experiment,
) -> None:
    task = experiment.tasks["tiny-task"]
    firsts = []
    for runs in groups(experiment):
        data = fleet_setup.data(task, runs)
        for array in data:
            assert all(np.array_equal(array[0], other) for other in array)
        firsts += [data] if runs[0].stage == "pretrain" else []
    for one, other in combinations(firsts, 2):
        assert not np.array_equal(one.tokens_KNL[0], other.tokens_KNL[0])
        assert not np.array_equal(one.order_KTB[0], other.order_KTB[0])


def test_runs_of_a_seed_start_from_the_same_weights(experiment: Experiment) -> None:
    task = experiment.tasks["tiny-task"]
    runs = [runs for runs in groups(experiment) if runs[0].stage == "pretrain"]
    starts = [
        fleet_setup.build(task, [run], [None], Path(), torch.device("cpu")).flat_KP.detach()[0]
        for found in runs
        for run in found
    ]
    same = len(runs[0])
    assert all(torch.equal(start, starts[0]) for start in starts[:same])
    assert not torch.equal(starts[0], starts[same])


def test_a_longer_run_starts_with_the_order_of_a_shorter_one_as_far_as_whole_epochs_go(experiment: Experiment) -> None:
    """Steps are swept at equal beginnings."""
    task = experiment.tasks["tiny-task"]
    run = replace(groups(experiment)[0][0], steps=12)
    fact = slice(0, fleet_setup.data(task, [run]).order_KTB.shape[2] // 4)
    epoch = run.examples["fact"] // fact.stop
    short = fleet_setup.data(task, [run]).order_KTB[0, :epoch, fact]
    long = fleet_setup.data(task, [replace(run, steps=24)]).order_KTB[0, :epoch, fact]
    assert np.array_equal(short, long)
