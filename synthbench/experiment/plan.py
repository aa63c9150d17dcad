"""The plan of an experiment: what can be trained next, what is still to come, and what it costs.

It is computed from the card and from what is done, whenever it is asked: resuming, choosing rates and starting children
are the same walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import NamedTuple

from synthbench.cards import RunnerCard
from synthbench.experiment import cells
from synthbench.experiment.axes import Point
from synthbench.experiment.cell_runs import CellRuns
from synthbench.experiment.cells import AtPoint, Planned
from synthbench.experiment.choice import Done
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Result, Run, RunId
from synthbench.experiment.walk import Cells, Walk
from synthbench.generators import Task

IMAGINED = Result("", "ok", {"validation_learning": 0.0, "validation_loss": 0.0})  # of a run that is still to come


@dataclass(frozen=True)
class Experiment:
    """A resolved card: its tasks read, its optimizers specified at every point of its axes.

    runs: those that were planned before, by cell, so that no id is hashed twice.
    """

    card: RunnerCard
    tasks: dict[str, Task]
    points: Sequence[AtPoint]
    environment: Environment
    runs: dict[Cell, CellRuns] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def optimizers(self) -> dict[str, OptimizerSpec]:
        """By their names on the card, at its first point."""
        return self.points[0].optimizers

    def specified(self) -> list[OptimizerSpec]:
        """Every optimizer at every point."""
        return [spec for at in self.points for spec in at.optimizers.values()]

    def with_optimizers(self, change: Callable[[OptimizerSpec], OptimizerSpec]) -> Experiment:
        """The same with other specifications."""
        points = [
            replace(at, optimizers={name: change(spec) for name, spec in at.optimizers.items()}) for at in self.points
        ]
        return replace(self, points=points)

    def at_one_point(self, card: RunnerCard) -> Experiment:
        """The same with another card, which has no axes."""
        only = replace(self.points[0], point=Point({}, frozenset(), card))
        return replace(self, card=card, points=[only])

    @cached_property
    def planned(self) -> dict[str, list[list[Planned]]]:
        """Every cell by task and stage."""
        return {label: cells.planned(self.points, task) for label, task in self.tasks.items()}


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

    def walk(self) -> Walk:
        """The cells whose runs are known so far; it follows what changes in what is done."""
        return Walk(self.experiment, self.done, most=self.most)

    def cells(self) -> Cells:
        """Every cell whose runs are known so far, each with its runs in order of rate and seed."""
        return self.walk().cells

    def ready(self) -> list[Run]:
        """The runs that can start now: not done, their parents done and valid."""
        return missing(self.cells(), self.done)

    def whole(self) -> Cells:
        """Every cell with all of its runs, done or still to come, if none diverges and no grid is extended further.

        Any rate stands in for one that is yet to be chosen. Where a parent must be trained again whose children are done,
        too many may be counted.
        """
        known = dict(self.done)
        walk = Walk(self.experiment, known, self.done, self.most)
        while names := [run.id for run in walk.ready]:
            known |= dict.fromkeys(names, IMAGINED)
            walk.finished(names)
        return walk.cells

    def remaining(self) -> list[Run]:
        """Every run still to come."""
        return missing(self.whole(), self.done)


def costs(experiment: Experiment, runs: Iterable[Run]) -> dict[str, Cost]:
    """What runs cost, by stage."""
    steps: dict[str, list[int]] = {stage.name: [] for stage in experiment.card.stages}
    for run in runs:
        steps[run.stage].append(run.steps)
    return {stage: Cost(len(of_stage), sum(of_stage)) for stage, of_stage in steps.items()}


def growth(experiment: Experiment, cells: Cells) -> float:
    """The factor by which run-steps grow if every grid is extended as far as its stage allows."""
    planned = most = 0.0
    for cell, runs in cells.items():
        steps, rates = sum(run.steps for run in runs), len({run.lr for run in runs})
        planned += steps
        most += steps * (1 + experiment.card.stage(cell.stage).extend / rates)
    return most / planned if planned else 1.0


def missing(cells: Cells, done: Done) -> list[Run]:
    """The runs of cells that are not done, each once."""
    return list({run.id: run for runs in cells.values() for run in runs if run.id not in done}.values())
