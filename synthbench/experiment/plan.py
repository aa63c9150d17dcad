"""The plan of an experiment: what can be trained next, what is still to come, and what it costs.

It is computed from the card and from what is done, whenever it is asked: resuming, choosing rates and starting children
are the same walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.experiment.choice import Done, beyond, choose
from synthbench.experiment.grids import optimizers_after, rates_of, scaled, settings, sized, updates
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Result, Run, RunId
from synthbench.generators import Task

Cells = dict[Cell, list[Run]]
Parents = Mapping[int, RunId | None]  # by seed the run to start from, None from scratch


@dataclass(frozen=True)
class Experiment:
    """A resolved card: its tasks read, its optimizers specified.

    optimizers: by their names on the card. planned: runs that were planned before, so that no id is hashed twice.
    """

    card: RunnerCard
    tasks: dict[str, Task]
    optimizers: dict[str, OptimizerSpec]
    environment: Environment
    planned: dict[Any, Run] = field(default_factory=dict, init=False, repr=False, compare=False)


class Cost(NamedTuple):
    """Runs, and the steps of all of them."""

    runs: int
    run_steps: int


@dataclass
class Plan:
    """What an experiment asks for. done: finished runs by id; it may grow and shrink while the plan is in use."""

    experiment: Experiment
    done: Mapping[RunId, Result]

    def cells(self) -> Cells:
        """Every cell whose runs are known so far, each with its runs in order of rate and seed.

        Two tasks may share runs: variants of one, before the stage in which they differ.
        """
        return _cells(self.experiment, self.done, self.done)

    def ready(self) -> list[Run]:
        """The runs that can start now: not done, their parents done and valid."""
        return _missing(self.cells(), self.done)

    def remaining(self) -> list[Run]:
        """Every run still to come if none diverges and no grid is extended further.

        Any rate stands in for one that is yet to be chosen. Where a parent must be trained again whose children are done,
        too many may be counted.
        """
        known, remaining = dict(self.done), self.ready()
        latest = remaining
        while latest:
            known |= {
                run.id: Result(run.id, "ok", {"validation_learning": 0.0, "validation_loss": 0.0}) for run in latest
            }
            latest = _missing(_cells(self.experiment, known, self.done), known)
            remaining = [*remaining, *latest]
        return remaining

    def costs(self) -> dict[str, Cost]:
        """What remains, by stage."""
        remaining = self.remaining()
        of_stage = {
            stage.name: [r for r in remaining if r.stage == stage.name] for stage in self.experiment.card.stages
        }
        return {name: Cost(len(runs), sum(run.steps for run in runs)) for name, runs in of_stage.items()}


def _missing(cells: Cells, done: Done) -> list[Run]:
    return list({run.id: run for runs in cells.values() for run in runs if run.id not in done}.values())


class Start(NamedTuple):
    """Where a stage begins: the optimizers of the stages before it, and what each seed starts from."""

    base: tuple[str, ...]
    parents: Parents


def _cells(experiment: Experiment, done: Done, real: Done) -> Cells:
    """real: of what is done, what grids are extended by."""
    cells: Cells = {}
    for task in experiment.tasks.values():
        starts = [Start((), dict.fromkeys(experiment.card.seed_list))]
        for position, stage in enumerate(experiment.card.stages):
            of_stage: Cells = {}
            for cell, parents in [
                branch for start in starts for branch in _branches(experiment, task, position, start)
            ]:
                rates = _share_of_tuned(experiment.card, stage, cell, of_stage, done)
                if rates is None:
                    rates = rates_of(experiment.card, stage, task.card.name, cell)
                of_stage[cell] = _extended(experiment, task, position, cell, rates, parents, real)
            cells |= of_stage
            if position + 1 < len(experiment.card.stages):
                starts = [Start((*cell.base, cell.optimizer), _parents(runs, done)) for cell, runs in of_stage.items()]
    return cells


def _branches(experiment: Experiment, task: Task, position: int, start: Start) -> Iterator[tuple[Cell, Parents]]:
    """The cells that a stage makes of one start: its optimizers x updates x decays x sizes; what each seed starts from."""
    card, stage = experiment.card, experiment.card.stages[position]
    for optimizer in optimizers_after(card, position, start.base):
        decays = settings(stage, task.card.name, card.optimizer_of(optimizer)).weight_decay
        for (update, size), decay in product(updates(card, stage, task.card.name, optimizer), decays):
            yield Cell(task.card.label, stage.name, start.base, optimizer, update, decay, size), start.parents


def _share_of_tuned(card: RunnerCard, stage: StageCard, cell: Cell, known: Cells, done: Done) -> list[float] | None:
    """The rate of a variant that has a share of the one chosen for its optimizer, none while that is unknown; None where
    the variant has rates itself."""
    variant = card.variants.get(cell.optimizer)
    if not (variant and variant.of_tuned and stage is card.stages[-1]):
        return None
    runs = known.get(cell._replace(optimizer=variant.of), [])
    choice = choose(runs, done) if runs and all(run.id in done for run in runs) else None
    return [float(f"{choice.lr * variant.of_tuned:.6g}")] if choice else []


def _extended(
    experiment: Experiment, task: Task, position: int, cell: Cell, rates: Sequence[float], parents: Parents, done: Done
) -> list[Run]:
    """The runs of a cell at these rates, and at those beyond them that its stage extends its grid to."""
    runs = _runs(experiment, task, position, cell, rates, parents)
    for _ in range(experiment.card.stages[position].extend if len(rates) > 1 else 0):
        if any(run.id not in done for run in runs) or not (rate := beyond(runs, done)):
            break
        runs = [*runs, *_runs(experiment, task, position, cell, [rate], parents)]
    return runs


def _parents(runs: Sequence[Run], done: Done) -> dict[int, RunId | None]:
    """By seed the run that later stages start from; a seed is absent while unknown, or for good if it diverged."""
    several = len({run.lr for run in runs}) > 1
    if several and any(run.id not in done for run in runs):
        return {}
    choice = choose(runs, done)
    return {
        run.seed: run.id
        for run in runs
        if choice and run.lr == choice.lr and run.id in done and done[run.id].status == "ok"
    }


def _runs(
    experiment: Experiment, task: Task, position: int, cell: Cell, rates: Sequence[float], parents: Parents
) -> list[Run]:
    """The runs of a cell at these rates, rate after rate."""
    runs = []
    for key in ((task.card.label, position, cell, lr, seed, parents[seed]) for lr in rates for seed in parents):
        if key not in experiment.planned:
            experiment.planned[key] = _run(experiment, task, *key[1:])
        runs.append(experiment.planned[key])
    return runs


def _run(
    experiment: Experiment, task: Task, position: int, cell: Cell, lr: float, seed: int, parent: RunId | None
) -> Run:
    card, stage = experiment.card, experiment.card.stages[position]
    variant = card.variants.get(cell.optimizer)
    return Run(
        task=task.name_in(stage.name),
        task_version=task.card.version if task.is_own(stage.name) else "",
        task_fingerprint=task.fingerprint_to(stage.name),
        model=card.shape.model_dump(mode="json"),
        stage=stage.name,
        history=tuple(earlier.name for earlier in card.stages[:position]),
        optimizer=experiment.optimizers[cell.optimizer],
        lr=lr,
        weight_decay=cell.weight_decay,
        update=cell.update,
        steps=scaled(settings(stage, task.card.name, card.optimizer_of(cell.optimizer)).steps, cell.size),
        batch=stage.batch,
        schedule=stage.schedule,
        warmup=stage.warmup,
        examples=sized(task, stage, cell.size),
        points=stage.points,
        sample=card.reading.sample,
        relearn=stage.relearn,
        seed=seed,
        salt=variant.salt if variant else "",
        parent=parent,
        environment=experiment.environment,
    )
