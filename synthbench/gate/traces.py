"""Traces: losses, norms of weights and of updates by group, at the first steps of every stage.

A change of an optimizer shows in a trace long before it shows in a score: two traces of one optimizer differ by rounding
alone, whose growth a perturbed start measures (the floor).

Shapes: T steps, K seeds, P floats in a run's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.execution.fleet_setup import data, seed_of
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Run
from synthbench.gate.baseline import STEPS
from synthbench.generators import Task
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, Views, initialize, pack
from synthbench.trainer.layout import Layout
from synthbench.trainer.loop import train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule

PERTURBATION = 1e-6  # of a start, relative: a few times float32's rounding
FAR = 1e9  # the deviation where one value is finite and the other is not, and the largest of all: JSON can hold it


class Trace(NamedTuple):
    """The trace of one stage under one update. name: `STAGE/UPDATE`. values: by quantity (`loss`, `update.GROUP`,
    `weight.GROUP`), shape (T, K). digests: of every seed's losses, norms and last weights."""

    name: str
    values: dict[str, NDArray[np.float64]]
    digests: tuple[str, ...]


def traces(experiment: Experiment, seeds: Sequence[int], perturbed: int | None = None) -> list[Trace]:
    """The traces of an experiment's one task: every stage and update, each stage from where the last one's trace ended.

    The schedules are those of the whole stages. perturbed: from starts that are off by PERTURBATION, drawn by
    this seed. One thread.
    """
    (task,) = experiment.tasks.values()
    runs = [run for run in Plan(experiment, {}).remaining() if run.seed in seeds]
    traced, ends = list[Trace](), dict[str, Views]()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _, together in groupby(runs, key=lambda run: run.kind):
            fleet_runs = list(together)
            fleet = begin(task, fleet_runs, ends, perturbed)
            traced.append(follow(task, fleet, fleet_runs))
            ends |= {run.id: fleet.member(k) for k, run in enumerate(fleet_runs)}
    finally:
        torch.set_num_threads(threads)
    return traced


def begin(task: Task, runs: Sequence[Run], ends: Mapping[str, Views], perturbed: int | None) -> Fleet:
    """The fleet of these runs: fresh, or with the weights that their parents' traces ended with."""
    device, model = torch.device(runs[0].environment.device), ModelCard.model_validate(runs[0].model)
    layout = layouts.transformer(model, task.language.vocabulary, task.language.length - 1)
    if runs[0].parent is None:
        base_KP = initialize(layout, model, [seed_of(run, "initialization") for run in runs], device)
    else:
        base_KP = pack(layout, [ends[str(run.parent)] for run in runs], device)
    noise = torch.Generator().manual_seed(perturbed or 0)
    if perturbed is not None:
        base_KP = shaken(base_KP, noise)
    fleet = Fleet(model, layout, base_KP, runs[0].update, [seed_of(run, "adapters") for run in runs])
    if perturbed is not None and runs[0].update.startswith("lora"):
        fleet.flat_KP.data = shaken(fleet.flat_KP.data, noise)
    return fleet


def shaken(flat_KP: Tensor, noise: torch.Generator) -> Tensor:
    """Every weight off by about PERTURBATION of itself."""
    return flat_KP * (1 + PERTURBATION * torch.randn(flat_KP.shape, generator=noise)).to(flat_KP.device)


def follow(task: Task, fleet: Fleet, runs: Sequence[Run]) -> Trace:
    """Trains a fleet for the first steps of its stage and records every step."""
    first, items = runs[0], data(task, runs)
    steps = min(STEPS, first.steps)
    norms = Norms(fleet)
    optimizer = FleetOptimizer(first.optimizer.name, fleet, first.optimizer.arguments, first.optimizer.routing)
    curve_TK = train(
        optimizer, items._replace(order_KTB=items.order_KTB[:, :steps]),
        Schedule(first.steps, first.schedule, first.warmup), ([run.lr for run in runs], [run.weight_decay for run in runs]),
        on_step=norms,
    )[:steps]  # fmt: skip
    values = {"loss": curve_TK.astype(np.float64)} | norms.values()
    digests = []
    for k in range(len(runs)):
        state = sha256(b"".join(np.ascontiguousarray(value_TK[:, k]).tobytes() for value_TK in values.values()))
        state.update(fleet.flat_KP[k].detach().cpu().numpy().tobytes())
        digests.append(state.hexdigest())
    return Trace(f"{first.stage}/{first.update}", values, tuple(digests))


class Norms:
    """Norms of what is trained, and of what each step changed, by group: called after every step."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._reaches = fleet, reaches(fleet.trainable)
        self._before_KP = fleet.flat_KP.detach().clone()
        self._weights: list[NDArray[np.float64]] = []
        self._updates: list[NDArray[np.float64]] = []

    def __call__(self, step: int) -> None:
        now_KP = self._fleet.flat_KP.detach()
        self._weights.append(self._each(now_KP))
        self._updates.append(self._each(now_KP - self._before_KP))
        self._before_KP.copy_(now_KP)

    def _each(self, flat_KP: Tensor) -> NDArray[np.float64]:
        """Shape (groups, K)."""
        norms = [torch.cat([flat_KP[:, r] for r in reach], dim=1).norm(dim=1) for reach in self._reaches.values()]
        return torch.stack(norms).double().cpu().numpy()

    def values(self) -> dict[str, NDArray[np.float64]]:
        """By quantity, shape (T, K)."""
        values: dict[str, NDArray[np.float64]] = {}
        for kind, steps in (("weight", self._weights), ("update", self._updates)):
            values |= {f"{kind}.{group}": np.stack(steps)[:, g] for g, group in enumerate(self._reaches)}
        return values


def reaches(layout: Layout) -> dict[str, list[slice]]:
    """Where the parameters of each group lie in a row: hidden, embedding, vector; of adapters A and B apart."""
    reach: dict[str, list[slice]] = {}
    for parameter in layout.parameters.values():
        factor = parameter.name.rpartition(".")[2]
        group = factor if factor in ("A", "B") else parameter.group
        reach.setdefault(group, []).append(slice(parameter.offset, parameter.offset + parameter.size))
    return reach


def deviations(before: Trace, after: Trace) -> dict[str, float]:
    """By quantity, how far two traces of the same runs are apart at most."""
    return {name: float(deviation(before.values[name], after.values[name]).max()) for name in before.values}


def deviation(one_TK: NDArray[np.float64], other_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a quantity of two traces is apart at each step, shape (T): of the seed where it is most, relative to the
    seed's mean size over the steps in the other; FAR where one is finite and the other is not."""
    is_one_TK, is_other_TK = np.isfinite(one_TK), np.isfinite(other_TK)
    scale_K = np.where(is_other_TK, np.abs(other_TK), 0.0).mean(0)
    with np.errstate(invalid="ignore"):  # inf - inf
        apart_TK = np.abs(one_TK - other_TK) / np.where(scale_K > 0, scale_K, 1.0)
    apart_TK = np.where(is_one_TK & is_other_TK, apart_TK, np.where(is_one_TK | is_other_TK, FAR, 0.0))
    apart_T: NDArray[np.float64] = apart_TK.max(1)
    return np.minimum(apart_T, FAR)
