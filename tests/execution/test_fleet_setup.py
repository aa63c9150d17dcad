"""Seeds are paired: a seed has the same data, order and initialization for every optimizer, rate and update."""

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
    """Runs grouped by stage and seed."""
    by_stage_and_seed: dict[tuple[str, int], list[Run]] = {}
    for run in Plan(experiment, {}).remaining():
        by_stage_and_seed.setdefault((run.stage, run.seed), []).append(run)
    return list(by_stage_and_seed.values())


def test_random_seeds_depend_on_seed_stage_and_purpose_only(experiment: Experiment) -> None:
    for runs in groups(experiment):
        assert len(runs) >= 4
        for purpose in PURPOSES:
            assert len({fleet_setup.seed_of(run, purpose) for run in runs}) == 1
    firsts = [runs[0] for runs in groups(experiment)]
    assert len({fleet_setup.seed_of(run, purpose) for run in firsts for purpose in PURPOSES}) == len(firsts) * 2


def test_data_and_order_depend_on_the_seed_only(experiment: Experiment) -> None:
    task = experiment.tasks["tiny-task"]
    firsts = []
    for runs in groups(experiment):
        data = fleet_setup.data(task, runs)
        for array_K in data:
            assert all(np.array_equal(array_K[0], values) for values in array_K)
        firsts += [data] if runs[0].stage == "pretrain" else []
    for first, second in combinations(firsts, 2):
        assert not np.array_equal(first.tokens_KNL[0], second.tokens_KNL[0])
        assert not np.array_equal(first.order_KTB[0], second.order_KTB[0])


def test_runs_of_a_seed_start_from_the_same_weights(experiment: Experiment) -> None:
    task = experiment.tasks["tiny-task"]
    pretraining = [group for group in groups(experiment) if group[0].stage == "pretrain"]
    starts = [
        fleet_setup.build(task, [run], [None], Path(), torch.device("cpu")).flat_KP.detach()[0]
        for group in pretraining
        for run in group
    ]
    count = len(pretraining[0])
    assert all(torch.equal(start, starts[0]) for start in starts[:count])
    assert not torch.equal(starts[0], starts[count])


def test_a_longer_run_starts_with_the_order_of_a_shorter_one_for_every_full_epoch(experiment: Experiment) -> None:
    """A sweep over steps compares runs with the same beginning."""
    task = experiment.tasks["tiny-task"]
    run = replace(groups(experiment)[0][0], steps=12)
    fact = slice(0, fleet_setup.data(task, [run]).order_KTB.shape[2] // 4)
    epoch = run.examples["fact"] // fact.stop
    short = fleet_setup.data(task, [run]).order_KTB[0, :epoch, fact]
    long = fleet_setup.data(task, [replace(run, steps=24)]).order_KTB[0, :epoch, fact]
    assert np.array_equal(short, long)
