"""Traces: losses, norms of weights and of updates by group, at the first steps of every stage.

A change of an optimizer shows in a trace long before it shows in a score. Traces of one optimizer differ by rounding alone,
whose growth a perturbed start measures.

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
FAR = 1e9  # the largest deviation, also where one value is finite and the other is not: JSON can hold it


class Trace(NamedTuple):
    """The trace of one cell (`STAGE/UPDATE`). values: by quantity (`loss`, `weight.GROUP`, `update.GROUP`), shape (T, K).
    digests: for each seed, of its values and last weights."""

    name: str
    values: dict[str, NDArray[np.float64]]
    digests: tuple[str, ...]


def traces(experiment: Experiment, seeds: Sequence[int], perturbed: int | None = None) -> list[Trace]:
    """The traces of an experiment's one task, on one thread: each stage and update, from where the stage before ended, on
    the schedule of the whole stage. perturbed: from starts that are off by PERTURBATION, drawn by this seed."""
    (task,) = experiment.tasks.values()
    runs = [run for run in Plan(experiment, {}).remaining() if run.seed in seeds]
    traced, ends = list[Trace](), dict[str, Views]()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _, of_kind in groupby(runs, key=lambda run: run.kind):
            fleet_runs = list(of_kind)
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
    steps, groups = min(STEPS, first.steps), slices(fleet.trainable)
    before_KP = fleet.flat_KP.detach().clone()
    rows: dict[str, list[NDArray[np.float64]]] = {}

    def note(step: int) -> None:
        """Norms of weights, and of what the step changed, by group."""
        now_KP = fleet.flat_KP.detach()
        for kind, flat_KP in (("weight", now_KP), ("update", now_KP - before_KP)):
            for group, parts in groups.items():
                norm_K = torch.cat([flat_KP[:, part] for part in parts], dim=1).norm(dim=1)
                rows.setdefault(f"{kind}.{group}", []).append(norm_K.double().cpu().numpy())
        before_KP.copy_(now_KP)

    optimizer = FleetOptimizer(first.optimizer.name, fleet, first.optimizer.arguments, first.optimizer.routing)
    curve_TK = train(
        optimizer, items._replace(order_KTB=items.order_KTB[:, :steps]),
        Schedule(first.steps, first.schedule, first.warmup), ([run.lr for run in runs], [run.weight_decay for run in runs]),
        on_step=note,
    )[:steps]  # fmt: skip
    values = {"loss": curve_TK.astype(np.float64)} | {name: np.stack(norms) for name, norms in rows.items()}
    digests = []
    for k in range(len(runs)):
        state = sha256(b"".join(np.ascontiguousarray(value_TK[:, k]).tobytes() for value_TK in values.values()))
        state.update(fleet.flat_KP[k].detach().cpu().numpy().tobytes())
        digests.append(state.hexdigest())
    return Trace(f"{first.stage}/{first.update}", values, tuple(digests))


def slices(layout: Layout) -> dict[str, list[slice]]:
    """Where the parameters of each group lie in a row: hidden, embedding, vector; of adapters A and B apart."""
    groups: dict[str, list[slice]] = {}
    for parameter in layout.parameters.values():
        factor = parameter.name.rpartition(".")[2]
        group = factor if factor in ("A", "B") else parameter.group
        groups.setdefault(group, []).append(slice(parameter.offset, parameter.offset + parameter.size))
    return groups


def deviation(one_TK: NDArray[np.float64], other_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a quantity of two traces is apart at each step, shape (T): for the seed with the largest deviation, relative
    to the seed's mean size over the steps in the other; FAR where one is finite and the other is not."""
    is_one_TK, is_other_TK = np.isfinite(one_TK), np.isfinite(other_TK)
    scale_K = np.where(is_other_TK, np.abs(other_TK), 0.0).mean(0)
    with np.errstate(invalid="ignore"):  # inf - inf
        apart_TK = np.abs(one_TK - other_TK) / np.where(scale_K > 0, scale_K, 1.0)
    apart_TK = np.where(is_one_TK & is_other_TK, apart_TK, np.where(is_one_TK | is_other_TK, FAR, 0.0))
    apart_T: NDArray[np.float64] = apart_TK.max(1)
    return np.minimum(apart_T, FAR)
