"""Training with a remedy against forgetting: what people do beside choosing an optimizer. Off unless a stage asks for it.

    replay     a share of every batch is old data
    l2         the loss has strength / 2 |w - base|^2 added to it
    ewc        the same, each parameter weighted by its Fisher information on old data (arXiv 1612.00796), of mean one
    average    the model that is evaluated and kept is (1 - share) w + share base

All act on full updates. The penalties are part of the loss, so their gradients go through the optimizer as all others do.
Shapes: K runs, P floats in a run's row, N items, T steps, B examples a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.execution.fleet_job import Job, Recorder, Trained, has_diverged, points, thinned
from synthbench.execution.fleet_setup import build, data
from synthbench.execution.observe import Observer, item_sets
from synthbench.execution.relearning import relearn
from synthbench.experiment import identity
from synthbench.experiment.runs import OptimizerSpec, Result, Run
from synthbench.generators import Examples, Place, Task, join, stream
from synthbench.scores import run_scores
from synthbench.store.observations import to_bytes
from synthbench.store.weights import write_weights
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.loop import Data, first_position, order, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from synthbench.trainer.step import losses

FISHER_ITEMS = 128  # old items by which the Fisher information is estimated


class Averaging(FleetOptimizer):
    """An optimizer whose fleet is evaluated between its base and what is trained. share: of the base."""

    def __init__(self, spec: OptimizerSpec, fleet: Fleet, share: float) -> None:
        super().__init__(spec.name, fleet, spec.arguments, spec.routing)
        self._base_KP, self._share = fleet.flat_KP.detach().clone(), share
        self._trained_KP: Tensor | None = None  # while what is evaluated stands in their place

    @torch.no_grad()
    def set_evaluating(self, evaluating: bool) -> None:
        if not evaluating and self._trained_KP is not None:
            self.fleet.flat_KP.copy_(self._trained_KP)
            self._trained_KP = None
        super().set_evaluating(evaluating)
        if evaluating and self._share and self._trained_KP is None:
            self._trained_KP = self.fleet.flat_KP.detach().clone()
            self.fleet.flat_KP.lerp_(self._base_KP, self._share)


class Penalized(Averaging):
    """The same, pulled towards its base. weight_KP: of the penalty of each parameter."""

    def __init__(self, spec: OptimizerSpec, fleet: Fleet, share: float, weight_KP: Tensor) -> None:
        super().__init__(spec, fleet, share)
        self._weight_KP = weight_KP

    @torch.no_grad()
    def step(self, step: int | Tensor, lr_K: Tensor, weight_decay_K: Tensor) -> None:
        self.fleet.grad_KP.addcmul_(self._weight_KP, self.fleet.flat_KP - self._base_KP)
        super().step(step, lr_K, weight_decay_K)


def old_items(task: Task, runs: Sequence[Run]) -> list[Examples]:
    """The trained items of the stages before, of each run."""
    of_seed = {seed: [splits.train for stage in runs[0].history for splits in task.draw(stage, seed).values()]
               for seed in {run.seed for run in runs}}  # fmt: skip
    return [join({str(index): part for index, part in enumerate(of_seed[run.seed])}) for run in runs]


def with_replay(task: Task, runs: Sequence[Run], new: Data, share: float) -> Data:
    """Data of which a share of every batch, at random places, is old: over the steps exactly so, a step rounded. Old
    slices have the shares that they had among themselves in their stage."""
    steps, batch = new.order_KTB.shape[1:]
    old_K, count_T = old_items(task, runs), np.diff(np.floor(share * batch * np.arange(steps + 1) + 1e-9)).astype(int)
    orders = []
    for run, order_TB in zip(runs, new.order_KTB, strict=True):
        randomness = stream(Place(run.seed, run.task, run.stage, ""), "train", "order of replay" + run.salt)
        taken = _replayed(task, run, int(count_T.sum()), randomness)
        mixed, first = order_TB.copy(), 0
        for step, count in enumerate(count_T):
            places = randomness.permutation(batch)[:count]
            mixed[step, places] = taken[first : first + count] + new.tokens_KNL.shape[1]
            first += count
        orders.append(mixed)
    return Data(
        np.concatenate([new.tokens_KNL, np.stack([old.tokens_NL for old in old_K])], axis=1),
        np.concatenate([new.answer_KNL, np.stack([old.answer_NL for old in old_K])], axis=1),
        np.stack(orders),
    )


def _replayed(task: Task, run: Run, count: int, randomness: np.random.Generator) -> NDArray[np.int32]:
    """So many old items in the order in which they are shown, by their places in `old_items`."""
    columns, offset = [], 0
    for stage in run.history:
        drawn = task.draw(stage, run.seed)
        shares: dict[str, int] = {name: part.share for name, part in task.card.stages[stage].items()}
        shown = order(
            {name: (splits.train.repeats_N, shares[name]) for name, splits in drawn.items()}, count, randomness
        )
        columns.append(shown + offset)
        offset += sum(len(splits.train) for splits in drawn.values())
    pool = np.concatenate(columns, axis=1)
    return pool[np.arange(count), randomness.integers(pool.shape[1], size=count)]


def fisher(task: Task, fleet: Fleet, runs: Sequence[Run]) -> Tensor:
    """The mean over old items of the squared gradient of the answer's log-probability, of mean one: shape (K, P)."""
    items_K = []
    for run, old in zip(runs, old_items(task, runs), strict=True):
        chosen = stream(Place(run.seed, run.task, run.stage, ""), "", "items of the Fisher information")
        items_K.append(old.take(chosen.permutation(len(old))[:FISHER_ITEMS]))
    device = fleet.flat_KP.device
    tokens_KNL = torch.from_numpy(np.stack([items.tokens_NL for items in items_K])).long().to(device)
    answer_KNL = torch.from_numpy(np.stack([items.answer_NL for items in items_K]))
    first, sum_KP = first_position(answer_KNL.numpy()), torch.zeros_like(fleet.flat_KP)
    for index in range(tokens_KNL.shape[1]):
        part = slice(index, index + 1)
        loss_K = losses(fleet, tokens_KNL[:, part], answer_KNL[:, part].to(device), first)
        fleet.flat_KP.grad = None
        (loss_K * answer_KNL[:, part].sum((1, 2)).to(device)).sum().backward()  # type: ignore[no-untyped-call]
        sum_KP += fleet.grad_KP.square()
    fleet.flat_KP.grad = None
    count = sum(parameter.size for parameter in fleet.trainable.parameters.values())  # padding has none
    return (sum_KP * (count / sum_KP.sum(1, keepdim=True).clamp_min(1e-30))).detach()


def weights(task: Task, fleet: Fleet, runs: Sequence[Run]) -> Tensor | None:
    """What the distance of each parameter from the base is penalized by."""
    remedy = runs[0].remedy
    weight_KP = torch.full_like(fleet.flat_KP, remedy["l2"]).detach() if "l2" in remedy else None
    if "ewc" in remedy:
        of_ewc = remedy["ewc"] * fisher(task, fleet, runs)
        weight_KP = of_ewc if weight_KP is None else weight_KP + of_ewc
    return weight_KP


def run_remedied(job: Job, device_kind: str, on_step: Callable[[int], None] = lambda step: None) -> list[Trained]:
    """As `run_fleet`, with the remedy of the job's runs."""
    began, clock = datetime.now(UTC), time.monotonic()
    first, task, runs = job.runs[0], Task(job.task), job.runs
    fleet = build(task, runs, job.parents, job.folder, torch.device(device_kind))
    start_K = fleet.flat_KP.detach().norm(dim=1)
    weight_KP, of, share = weights(task, fleet, runs), first.optimizer, first.remedy.get("average", 0.0)
    optimizer = Averaging(of, fleet, share) if weight_KP is None else Penalized(of, fleet, share, weight_KP)
    shown = data(task, runs)
    if "replay" in first.remedy:
        shown = with_replay(task, runs, shown, first.remedy["replay"])
    sets = item_sets(task, first.stage, first.history, [run.seed for run in runs], first.examples)
    recorder = Recorder(Observer(fleet, sets), first)
    curve_TK = train(
        optimizer, shown, Schedule(first.steps, first.schedule, first.warmup),
        ([run.lr for run in runs], [run.weight_decay for run in runs]), points(first), recorder, on_step,
    )  # fmt: skip
    common = Result(
        "", "ok", fleet_size=len(runs), seconds=(time.monotonic() - clock) / len(runs),
        started=began.isoformat(timespec="seconds"), device=identity.device_name(device_kind, first.environment.path),
        versions=identity.versions(),
    )  # fmt: skip
    observed_K = relearn(task, fleet, runs, [recorder.observations(k) for k in range(len(runs))])
    trained = []
    for k, (run, attempt, observed) in enumerate(zip(runs, job.attempts, observed_K, strict=True)):
        path, ends = run_scores(observed)
        outcome = replace(common, run=run.id, attempt=attempt, path=path)
        if has_diverged(fleet, start_K, curve_TK, k):
            outcome, file = replace(outcome, status="diverged"), None
        else:
            file = write_weights(job.folder, run, attempt, fleet.saved(k))
            outcome = replace(outcome, scores=ends, weights=file.name)
        trained.append(Trained(outcome, thinned(curve_TK[:, k].tolist()), file, to_bytes(observed)))
    return trained
