"""The plan of an experiment: what can be trained next, what is still to come, and what it costs.

It is computed from the card and from what is done, whenever it is asked: resuming, choosing rates and starting children
are the same walk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product, takewhile
from math import inf
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.cards.runner import BRACKET_SAMPLE
from synthbench.common.errors import BadInput
from synthbench.experiment import brackets, grids
from synthbench.experiment.choice import Done, beyond, choose
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Result, Run, RunId
from synthbench.generators import Task
from synthbench.scores.reading import FITS

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
    """What an experiment asks for. done: finished runs by id; it may grow and shrink while the plan is in use. most: runs,
    beyond which BadInput is raised, to be completed by the card's origin."""

    experiment: Experiment
    done: Mapping[RunId, Result]
    most: float = inf

    def cells(self) -> Cells:
        """Every cell whose runs are known so far, each with its runs in order of rate and seed.

        Two tasks may share runs: variants of one, before the stage in which they differ.
        """
        return self._cells(self.done)

    def ready(self) -> list[Run]:
        """The runs that can start now: not done, their parents done and valid."""
        return _missing(self.cells(), self.done)

    def whole(self) -> Cells:
        """Every cell with all of its runs, done or still to come, if none diverges and no grid is extended further.

        Any rate stands in for one that is yet to be chosen. Where a parent must be trained again whose children are done,
        too many may be counted.
        """
        known, cells = dict(self.done), self.cells()
        while missing := _missing(cells, known):
            scores = {"validation_learning": 0.0, "validation_loss": 0.0}
            known |= {run.id: Result(run.id, "ok", scores) for run in missing}
            cells = self._cells(known)
        return cells

    def remaining(self) -> list[Run]:
        """Every run still to come."""
        return _missing(self.whole(), self.done)

    def costs(self) -> dict[str, Cost]:
        """What remains, by stage."""
        steps: dict[str, list[int]] = {stage.name: [] for stage in self.experiment.card.stages}
        for run in self.remaining():
            steps[run.stage].append(run.steps)
        return {stage: Cost(len(of_stage), sum(of_stage)) for stage, of_stage in steps.items()}

    def _cells(self, done: Done) -> Cells:
        """Those that follow from what is done, be it imagined; grids are extended by what really is."""
        cells: Cells = {}
        for task in self.experiment.tasks.values():
            starts: Iterable[tuple[tuple[str, ...], Parents]] = [((), dict.fromkeys(self.experiment.card.seed_list))]
            for stage in self.experiment.card.stages:
                of_task, of_stage = TaskStage(self.experiment, task, stage), dict[Cell, list[Run]]()
                for base, parents in starts:
                    for cell in of_task.cells(base):
                        rates = of_task.rates(cell, of_stage, done)
                        if max(len(self.experiment.planned), len(of_stage), len(rates) * len(parents)) > self.most:
                            raise BadInput(f"at most {self.most} runs are allowed; give fewer seeds or rates.")
                        of_stage[cell] = of_task.extended(cell, rates, parents, self.done)
                cells |= of_stage
                starts = (((*cell.base, cell.optimizer), _parents(runs, done)) for cell, runs in of_stage.items())
        return cells


def _missing(cells: Cells, done: Done) -> list[Run]:
    return list({run.id: run for runs in cells.values() for run in runs if run.id not in done}.values())


def _parents(runs: Sequence[Run], done: Done) -> Parents:
    """By seed the run that later stages start from; a seed is absent while unknown, or for good if it diverged."""
    several = len({run.lr for run in runs}) > 1
    if several and any(run.id not in done for run in runs):
        return {}
    choice = choose(runs, done)
    chosen = [run for run in runs if choice and run.lr == choice.lr and run.id in done]
    return {run.seed: run.id for run in chosen if done[run.id].status == "ok"}


@dataclass(frozen=True)
class TaskStage:
    """A stage of an experiment for one task."""

    experiment: Experiment
    task: Task
    stage: StageCard

    @property
    def card(self) -> RunnerCard:
        return self.experiment.card

    def settings(self, optimizer: str) -> grids.StageSettings:
        return grids.settings(self.card, self.stage, self.task.card.name, optimizer)

    def cells(self, base: tuple[str, ...]) -> Iterator[Cell]:
        """Optimizers x updates x decays x sizes after the optimizers of the stages before (base)."""
        for optimizer in grids.optimizers_after(self.card, self.stage, base):
            of_stage = grids.updates(self.card, self.stage, self.task.card.name, optimizer)
            spec, decays = self.experiment.optimizers[optimizer], self.settings(optimizer).weight_decay
            for (update, size), decay in product(of_stage, decays if spec.heeds_decay else decays[:1]):
                yield Cell(self.task.card.label, self.stage.name, base, optimizer, update, decay, size)

    def rates(self, cell: Cell, known: Cells, done: Done) -> list[float]:
        """The learning rates of a cell. That of a variant with a share of the rate chosen for its optimizer is unknown
        until that is chosen. known: cells of this stage."""
        if not self.experiment.optimizers[cell.optimizer].has_rate:
            return [grids.NO_RATE]
        variant = grids.variant_in(self.card, self.stage, cell.optimizer)
        if not (variant and variant.of_tuned):
            return grids.rates_of(self.card, self.stage, self.task.card.name, cell)
        runs = known.get(cell._replace(optimizer=variant.of), [])
        choice = choose(runs, done) if all(run.id in done for run in runs) else None
        return [float(f"{choice.lr * variant.of_tuned:.6g}")] if choice else []

    def extended(self, cell: Cell, rates: Sequence[float], parents: Parents, done: Done) -> list[Run]:
        """The runs of a cell at these rates, and at those beyond them that the stage extends its grid to: where its edge is
        chosen, and where scores are read at target steps that lie beyond its rates. (The last stage's for what the card
        reads there alone: `quick` reads nothing at a chosen rate.)"""
        runs, is_last = self.runs(cell, rates, parents), self.stage is self.card.stages[-1]
        is_read = is_last and brackets.reads_between_rates(self.card)
        is_chosen = not is_last or brackets.reads_chosen_rate(self.card)
        for _ in range(self.stage.extend if len(rates) > 1 and runs else 0):
            if any(run.id not in done for run in runs):
                break
            rate = (beyond(runs, done) if is_chosen else None) or (
                brackets.towards(runs, done, self.card, cell.size) if is_read else None
            )
            if rate is None:
                break
            runs += self.runs(cell, [rate], parents)
        return runs

    def runs(self, cell: Cell, rates: Sequence[float], parents: Parents) -> list[Run]:
        """The runs of a cell at these rates, rate after rate."""
        planned, runs = self.experiment.planned, []
        for lr, seed in product(rates, parents):
            key = (cell, lr, seed, parents[seed])
            if key not in planned:
                planned[key] = self._run(*key)
            runs.append(planned[key])
        return runs

    @property
    def _samples(self) -> dict[str, Any]:
        """How many items of a set are evaluated, and which levels of fit decide it. Where no path is read, this is the same
        for every card: what pretrains a model does not depend on how its finetuning is read."""
        reading = self.card.reading
        if self.stage.points == 1:
            return {"sample": BRACKET_SAMPLE, "bracket_sample": BRACKET_SAMPLE, "levels": ()}
        levels = tuple(sorted({*FITS, reading.fit}))
        return {"sample": reading.sample, "bracket_sample": reading.bracket_sample, "levels": levels}

    def _run(self, cell: Cell, lr: float, seed: int, parent: RunId | None) -> Run:
        card, stage, task = self.card, self.stage, self.task
        variant = card.variants.get(cell.optimizer)
        history = tuple(earlier.name for earlier in takewhile(lambda earlier: earlier is not stage, card.stages))
        return Run(
            task=task.name_in(stage.name), task_version=task.card.version if task.is_own(stage.name) else "",
            task_fingerprint=task.fingerprint_to(stage.name), model=card.shape.model_dump(mode="json"), stage=stage.name,
            history=history,
            optimizer=self.experiment.optimizers[cell.optimizer], lr=lr, weight_decay=cell.weight_decay,
            update=cell.update, steps=grids.scaled(self.settings(cell.optimizer).steps, cell.size), batch=stage.batch,
            schedule=stage.schedule, warmup=stage.warmup, examples=grids.sized(task, stage, cell.size), points=stage.points,
            **self._samples, relearn=stage.relearn if history else 0, seed=seed, salt=variant.salt if variant else "",
            parent=parent, environment=self.experiment.environment,
        )  # fmt: skip
