"""Remedies against forgetting: replay, penalties towards the base, averages with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbench.common.errors import BadInput
from synthbench.execution import remedied
from synthbench.execution.fleet_job import Job, run_fleet
from synthbench.execution.fleet_setup import build, data
from synthbench.execution.probing import subject_of
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import OptimizerSpec, Run
from synthbench.generators import Task
from synthbench.trainer.fleet import views
from synthbench.trainer.native import path as paths
from synthbench.trainer.step import losses
from tests import tiny
from tests.each import each
from tests.trainer import native


@pytest.fixture(scope="module", params=[paths.TORCH, paths.NATIVE])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Finetuning runs on trained bases, without a remedy, on either path."""
    if request.param == paths.NATIVE:
        native.load()
    folder = tmp_path_factory.mktemp("remedied")
    experiment = tiny.experiment(folder, "stages.pretrain.steps=150", "stages.pretrain.lr=[1e-2]", path=request.param)
    task, bases = experiment.tasks["tiny-task"].card, Plan(experiment, {}).ready()
    trained = run_fleet(Job(bases, task, [None] * len(bases), folder, [1] * len(bases)), "cpu")
    done = {run.id: one.result for run, one in zip(bases, trained, strict=True)}
    files = {run.id: one.weights for run, one in zip(bases, trained, strict=True)}
    runs = Plan(experiment, done).ready()
    return Job(runs, task, [files[run.parent or ""] for run in runs], folder, [1] * len(runs))


def given(job: Job, **remedy: float) -> Job:
    return replace(job, runs=[replace(run, remedy=remedy) for run in job.runs])


def after(job: Job) -> torch.Tensor:
    """The weights of the trained fleet, each run's in a row."""
    trained = remedied.run_remedied(job, "cpu") if job.runs[0].remedy else run_fleet(job, "cpu")
    weights = subject_of(job, trained, range(len(trained)), "cpu").after
    return torch.cat([value.flatten(1) for value in weights.values()], dim=1)


def base(job: Job) -> torch.Tensor:
    fleet = build(Task(job.task), job.runs, job.parents, job.folder, torch.device("cpu"))
    return torch.cat([value.detach().flatten(1) for value in fleet.weights().values()], dim=1)


def test_a_remedy_that_does_nothing_trains_what_a_fleet_without_one_trains(job: Job) -> None:
    plain, with_none = run_fleet(job, "cpu"), remedied.run_remedied(given(job, average=0.0), "cpu")
    for one, other in zip(plain, with_none, strict=True):
        assert one.result.scores == other.result.scores
        assert one.result.path == other.result.path
        assert one.curve == other.curve


@each("share", [0.25, 1.0])
def test_an_average_lies_between_base_and_result_and_does_not_change_training(job: Job, share: float) -> None:
    start, end, averaged = base(job), after(job), after(given(job, average=share))
    torch.testing.assert_close(averaged, torch.lerp(end, start, share), rtol=1e-5, atol=1e-6)
    if share == 1:
        for one in remedied.run_remedied(given(job, average=1.0), "cpu"):
            assert one.result.scores["forgetting"] == 0


@each("name", ["l2", "ewc"])
def test_a_penalty_keeps_models_nearer_to_their_base_the_stronger_it_is(job: Job, name: str) -> None:
    start = base(job)
    distances = [
        (after(given(job, **{name: strength}) if strength else job) - start).norm() for strength in (0, 1, 1e3)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_the_gradient_of_the_l2_penalty_is_its_strength_times_the_distance(job: Job) -> None:
    task = Task(job.task)
    fleet = build(task, job.runs, job.parents, job.folder, torch.device("cpu"))
    spec = OptimizerSpec("sgd", (("*", "sgd"),), {"momentum": 0.0}, "")
    optimizer = remedied.Penalized(spec, fleet, 0.0, torch.full_like(fleet.flat_KP, 3.0))
    start = fleet.flat_KP.detach().clone()
    with torch.no_grad():
        fleet.flat_KP += 0.5
    fleet.flat_KP.grad = torch.zeros_like(fleet.flat_KP)
    optimizer.step(1, torch.full((len(fleet),), 0.1), torch.zeros(len(fleet)))
    moved = torch.cat([value.detach().flatten(1) for value in fleet.weights().values()], dim=1)
    expected = torch.cat([v.flatten(1) for v in views(fleet.layout, start + 0.5 - 0.1 * 3 * 0.5).values()], dim=1)
    torch.testing.assert_close(moved, expected)


def test_the_fisher_information_is_the_mean_squared_gradient_of_single_items(job: Job) -> None:
    task, runs = Task(job.task), job.runs[:1]
    fleet = build(task, runs, job.parents[:1], job.folder, torch.device("cpu"))
    found = remedied.fisher(task, fleet, runs)
    items = remedied.old_items(task, runs)[0]
    assert len(items) <= remedied.FISHER_ITEMS  # so all of them have a part in it
    total = torch.zeros_like(fleet.flat_KP)
    for index in range(len(items)):
        tokens = torch.from_numpy(items.tokens_NL[None, index : index + 1]).long()
        answer = torch.from_numpy(items.answer_NL[None, index : index + 1])
        (gradient,) = torch.autograd.grad(losses(fleet, tokens, answer, 3).sum() * answer.sum(), fleet.flat_KP)
        total += gradient.square()
    torch.testing.assert_close(found / found.sum(), total / total.sum(), rtol=1e-3, atol=1e-9)
    sizes = sum(parameter.size for parameter in fleet.trainable.parameters.values())
    assert found.sum() == pytest.approx(sizes, rel=1e-4)


@each("share", [0.01, 0.05, 0.2, 0.5])
def test_replay_takes_its_share_of_the_examples_from_old_items_of_the_run_s_seed(job: Job, share: float) -> None:
    task = Task(job.task)
    new = data(task, job.runs)
    mixed = remedied.with_replay(task, job.runs, new, share)
    count, (steps, batch) = new.tokens_KNL.shape[1], new.order_KTB.shape[1:]
    is_old = mixed.order_KTB >= count
    assert is_old.sum((1, 2)).tolist() == [int(share * batch * steps + 1e-9)] * len(job.runs)
    assert np.ptp(is_old.sum(2)) <= 1
    assert np.array_equal(mixed.order_KTB[~is_old], new.order_KTB[~is_old])
    for k, old in enumerate(remedied.old_items(task, job.runs)):
        assert np.array_equal(mixed.tokens_KNL[k, count:], old.tokens_NL)
        assert mixed.order_KTB[k].max() < count + len(old)
    parts = np.concatenate([mixed.order_KTB[k][is_old[k]] - count for k in range(len(job.runs))])
    if share == 0.5:  # facts are a quarter of what pretraining shows
        facts = task.card.size("pretrain")["fact"]
        assert (parts < facts).mean() == pytest.approx(0.25, abs=0.08)


def test_replayed_old_items_are_forgotten_less(job: Job) -> None:
    long = replace(job, runs=[replace(run, steps=60, lr=3e-3, points=1) for run in job.runs])
    plain, replayed = run_fleet(long, "cpu"), remedied.run_remedied(given(long, replay=0.5), "cpu")
    lost = [np.mean([one.result.scores["loss_forgetting"] for one in of]) for of in (plain, replayed)]
    assert lost[1] < lost[0]


def ids(folder: Path, *settings: str) -> list[Run]:
    return Plan(tiny.experiment(folder, *settings), {}).whole().popitem()[1]


def test_a_remedy_is_part_of_an_id_where_it_is_given(tmp_path: Path) -> None:
    plain, none, some = (
        ids(tmp_path, *of) for of in ((), ("stages.finetune.remedy.l2=0",), ("stages.finetune.remedy.l2=1",))
    )
    assert [run.id for run in plain] == [run.id for run in none]
    assert {run.id for run in plain}.isdisjoint(run.id for run in some)
    assert some[0].remedy == {"l2": 1.0}
    cards = [tiny.experiment(tmp_path, *of).card.fingerprint() for of in ((), ("stages.finetune.remedy.l2=0",))]
    assert cards[0] == cards[1]


def test_remedies_of_several_strengths_are_an_axis_and_act_on_full_updates_alone(tmp_path: Path) -> None:
    on_axis: Any = tiny.experiment(tmp_path, tiny.axis("stages.finetune.remedy.replay", [0, 0.5]))
    shares = {
        run.remedy.get("replay", 0.0) for runs in Plan(on_axis, {}).whole().values() for run in runs if run.parent
    }
    assert shares == {0.0, 0.5}
    both: Any = tiny.experiment(
        tmp_path, tiny.axis("stages.finetune.remedy", ["none", "l2=1", "replay=0.5,average=0.25"])
    )
    given = [run.remedy for runs in Plan(both, {}).whole().values() for run in runs if run.parent]
    assert {tuple(remedy.items()) for remedy in given} == {(), (("l2", 1.0),), (("replay", 0.5), ("average", 0.25))}
    for text, phrase in (
        ("replay", "NAME=VALUE"),
        ("replay=2", "remedy = 2: must be less than"),
        ("relpay=0.1", "relpay"),
    ):
        with pytest.raises(BadInput, match=phrase):
            tiny.experiment(tmp_path, f"stages.finetune.remedy='{text}'")
    with pytest.raises(BadInput, match="remedy: replay act on full updates"):
        tiny.experiment(tmp_path, "stages.finetune.remedy.replay=0.1", updates=["full", "lora-2"])
