"""The plan of an experiment: what can be trained next, what is still to come, and what it costs.

It is computed from the card and from what is done, whenever it is asked: resuming, choosing rates and starting children
are the same walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import inf
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard
from synthbench.common.errors import BadInput
from synthbench.experiment import brackets, cells, grids
from synthbench.experiment.axes import Point
from synthbench.experiment.cells import AtPoint, Planned
from synthbench.experiment.choice import Done, beyond, choose
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Result, Run, RunId
from synthbench.generators import Task

Cells = dict[Cell, list[Run]]
Parents = Mapping[int, RunId | None]  # by seed the run to start from, None from scratch


@dataclass(frozen=True)
class Experiment:
    """A resolved card: its tasks read, its optimizers specified at every point of its axes.

    runs: those that were planned before, so that no id is hashed twice.
    """

    card: RunnerCard
    tasks: dict[str, Task]
    points: Sequence[AtPoint]
    environment: Environment
    runs: dict[Any, Run] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        found, experiment = Cells(), self.experiment
        from_scratch: Parents = dict.fromkeys(experiment.card.seed_list)
        for stages in experiment.planned.values():
            for of_stage in stages:
                parents = {
                    one.parent: _parents(found[one.parent], done) if one.parent else from_scratch for one in of_stage
                }
                for one in of_stage:
                    rates = self._rates(one, found, done)
                    if max(len(experiment.runs), len(found), len(rates) * len(parents[one.parent])) > self.most:
                        raise BadInput(f"at most {self.most} runs are allowed; give fewer seeds or rates.")
                    found[one.cell] = self._extended(one, rates, parents[one.parent])
        return found

    def _rates(self, one: Planned, known: Cells, done: Done) -> list[float]:
        """The learning rates of a cell. That of a variant with a share of the rate chosen for its optimizer is unknown
        until that is chosen. known: cells that are planned already."""
        variant = grids.variant_in(one.of.card, one.of.stage, one.cell.optimizer)
        if not (variant and variant.of_tuned):
            return one.of.grid(one.cell)
        runs = known[one.cell._replace(optimizer=variant.of)]
        choice = choose(runs, done) if all(run.id in done for run in runs) else None
        return [float(f"{choice.lr * variant.of_tuned:.6g}")] if choice else []

    def _extended(self, one: Planned, rates: Sequence[float], parents: Parents) -> list[Run]:
        """The runs of a cell at these rates, and at those beyond them that the stage extends its grid to: where its edge is
        chosen, and where scores are read at target steps that lie beyond its rates. (The last stage's for what the card
        reads there alone: `quick` reads nothing at a chosen rate.)"""
        runs, card, is_last = self._runs(one, rates, parents), one.of.card, one.of.is_last
        is_read = is_last and brackets.reads_between_rates(card)
        is_chosen = not is_last or brackets.reads_chosen_rate(card)
        for _ in range(one.of.stage.extend if len(rates) > 1 and runs else 0):
            if any(run.id not in self.done for run in runs):
                break
            rate = (beyond(runs, self.done) if is_chosen else None) or (
                brackets.towards(runs, self.done, card, one.cell.size) if is_read else None
            )
            if rate is None:
                break
            runs += self._runs(one, [rate], parents)
        return runs

    def _runs(self, one: Planned, rates: Sequence[float], parents: Parents) -> list[Run]:
        """The runs of a cell at these rates, rate after rate."""
        planned, runs = self.experiment.runs, []
        for lr, seed in product(rates, parents):
            key = (one.cell, lr, seed, parents[seed])
            if key not in planned:
                planned[key] = one.of.run(*key)
            runs.append(planned[key])
        return runs


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
