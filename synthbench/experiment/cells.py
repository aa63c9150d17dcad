"""The cells of an experiment, known before anything is trained: at which point of its axes each is, and from which cell of
the stage before it starts.

Cells of several points that train the same are one: its runs are trained once, and its row names only the axes that it,
or what it starts from, differs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from synthbench.cards import StageCard, fingerprint
from synthbench.cards.runner import BRACKET_SAMPLE
from synthbench.common.errors import BadInput
from synthbench.experiment import grids, identity, used
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Run, RunId
from synthbench.generators import Task
from synthbench.scores.reading import FITS

if TYPE_CHECKING:
    from synthbench.cards import RunnerCard
    from synthbench.experiment.axes import Point


@dataclass(frozen=True)
class AtPoint:
    """An experiment at one point of its axes: the card as it is there, its optimizers by their names on the card."""

    point: Point
    optimizers: dict[str, OptimizerSpec]
    environment: Environment

    @property
    def card(self) -> RunnerCard:
        return self.point.card


@dataclass(frozen=True)
class TaskStage:
    """A stage of an experiment for one task, at one point."""

    at: AtPoint
    task: Task
    stage: StageCard

    @property
    def card(self) -> RunnerCard:
        return self.at.card

    @property
    def is_last(self) -> bool:
        return self.stage is self.card.stages[-1]

    def settings(self, optimizer: str) -> grids.StageSettings:
        return grids.settings(self.card, self.stage, self.task.card.name, optimizer)

    def cells(self, base: tuple[str, ...]) -> Iterator[Cell]:
        """Optimizers x updates after the optimizers of the stages before (base)."""
        for optimizer in grids.optimizers_after(self.card, self.stage, base, self.task.card.name):
            settings = self.settings(optimizer)
            for update in grids.updates(self.card, self.stage, self.task.card.name, optimizer):
                yield Cell(
                    self.task.card.label, self.stage.name, base, optimizer, update, settings.weight_decay, settings.size
                )

    def grid(self, cell: Cell) -> list[float]:
        """The learning rates of a cell as the card has them."""
        if not self.at.optimizers[cell.optimizer].has_rate:
            return [grids.NO_RATE]
        return grids.rates_of(self.card, self.stage, self.task.card.name, cell)

    @property
    def _samples(self) -> dict[str, Any]:
        """How many items of a set are evaluated, and which levels of fit decide it. Where no path is read, this is the same
        for every card: what pretrains a model does not depend on how its finetuning is read."""
        reading = self.card.reading
        if self.stage.points == 1:
            return {"sample": BRACKET_SAMPLE, "bracket_sample": BRACKET_SAMPLE, "levels": ()}
        levels = tuple(sorted({*FITS, reading.fit}))
        return {"sample": reading.sample, "bracket_sample": reading.bracket_sample, "levels": levels}

    @cached_property
    def _environment(self) -> Environment:
        """The experiment's, with the files that its runs of this stage use beside those that all use."""
        files = (
            *used.by_task(self.task.card, self.stage.name),
            *used.by_probes(self.card.probes),
            *used.by_remedy(self.stage.remedy.given),
        )
        if not files:
            return self.at.environment
        return replace(self.at.environment, source=identity.training_source(*files, path=self.at.environment.path))

    def run(self, cell: Cell, lr: float, seed: int, parent: RunId | None) -> Run:
        card, stage, task = self.card, self.stage, self.task
        variant = card.variants.get(cell.optimizer)
        history = tuple(earlier.name for earlier in takewhile(lambda earlier: earlier is not stage, card.stages))
        return Run(
            task=task.name_in(stage.name), task_version=task.card.version if task.is_own(stage.name) else "",
            task_fingerprint=task.fingerprint_to(stage.name), model=card.shape.model_dump(mode="json"), stage=stage.name,
            history=history,
            optimizer=self.at.optimizers[cell.optimizer], lr=lr, weight_decay=cell.weight_decay,
            update=cell.update, steps=grids.scaled(self.settings(cell.optimizer).steps, cell.size), batch=stage.batch,
            schedule=stage.schedule, warmup=stage.warmup, examples=grids.sized(task, stage, cell.size), points=stage.points,
            **self._samples, relearn=stage.relearn if history else 0, seed=seed, salt=variant.salt if variant else "",
            parent=parent, environment=self._environment, probes=tuple(card.probes),
            remedy=stage.remedy.given if history else {},
        )  # fmt: skip

    def trains(self, cell: Cell, parent: str) -> str:
        """A hash of all that decides what a cell's runs compute, where they start included (parent: the hash of that)."""
        heeds = self.at.optimizers[cell.optimizer].heeds_decay
        run = self.run(cell if heeds else cell._replace(weight_decay=0.0), 0.0, 0, None)
        variant = grids.variant_in(self.card, self.stage, cell.optimizer)
        share = variant.of_tuned if variant else None
        return fingerprint([run.identity, self.grid(cell), share, self.stage.extend, parent])


class Planned(NamedTuple):
    """A cell, the stage that trains it, and the cell that it starts from, None from scratch."""

    cell: Cell
    of: TaskStage
    parent: Cell | None


@dataclass
class _Node:
    """Cells that train the same, at several points. parent: what they start from."""

    cell: Cell
    of: TaskStage
    parent: _Node | None
    points: list[Point] = field(default_factory=list)
    is_needed: bool = False

    @property
    def named(self) -> Cell:
        """The cell with the values of the axes that it is at: of all points, if they have one value in common."""
        return self.cell._replace(point=tuple(
            (label, values.pop()) for label in self.points[0].values
            if len(values := self._values(label)) == 1 and values != {None}
        ))  # fmt: skip

    def _values(self, label: str) -> set[Any]:
        """The values of an axis at its points; the card's own value only where it has no other."""
        on_axis = {point.values[label] for point in self.points if label not in point.away}
        return on_axis or {point.values[label] for point in self.points}


def planned(every_point: Sequence[AtPoint], task: Task) -> list[list[Planned]]:
    """Every cell for a task, stage by stage, in the order of the points."""
    stages: list[dict[tuple[Any, ...], _Node]] = []
    leaves: dict[int, list[tuple[_Node | None, str]]] = {index: [(None, "")] for index in range(len(every_point))}
    for number in range(len(every_point[0].card.stages)):
        nodes = dict[tuple[Any, ...], _Node]()
        for index, at in enumerate(every_point):
            of, grown = TaskStage(at, task, at.card.stages[number]), list[tuple[_Node | None, str]]()
            for parent, hashed in leaves[index]:
                base = (*parent.cell.base, parent.cell.optimizer) if parent else ()
                for cell in of.cells(base):
                    if of.is_last and not _is_here(cell, at):
                        continue
                    trains = of.trains(cell, hashed)
                    key = (base, cell.optimizer, cell.update, trains)
                    node = nodes.setdefault(key, _Node(cell, of, parent))
                    if at.point.away < node.of.at.point.away:  # its own value stands for that of the axis
                        node.cell, node.of = cell, of
                    node.points.append(at.point)
                    grown.append((node, trains))
            leaves[index] = grown
        stages.append(nodes)
    needed = list(stages[-1].values())
    while needed:
        for node in needed:
            node.is_needed = True
        needed = [node.parent for node in needed if node.parent and not node.parent.is_needed]
    found = [[Planned(node.named, node.of, node.parent.named if node.parent else None) for node in nodes.values()
              if node.is_needed] for nodes in stages]  # fmt: skip
    _check_shares(found[-1])
    return found


def _check_shares(last: Sequence[Planned]) -> None:
    """Raises BadInput for a variant with a share of a rate that is chosen nowhere: of its optimizer at another decay, size
    or point of the axes."""
    known = {one.cell for one in last}
    for cell, of, _ in last:
        variant = grids.variant_in(of.card, of.stage, cell.optimizer)
        if variant and variant.of_tuned and cell._replace(optimizer=variant.of) not in known:
            raise BadInput(
                f"{cell.optimizer} has a share of the rate that is chosen for {variant.of}, so it must have the weight "
                "decay, the size and the axes of that one."
            )


def _is_here(cell: Cell, at: AtPoint) -> bool:
    """Whether a cell of the last stage belongs to a point: on the axes that are for it, at the card's own value of
    others."""
    chain = (*cell.base, cell.optimizer)
    return all(
        axis.is_for(cell.task, chain, cell.update) is (axis.name not in at.point.away)
        for axis in at.card.axes if axis.is_partial
    )  # fmt: skip
