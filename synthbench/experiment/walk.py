"""The cells of an experiment as far as they follow from what is done, kept up to date run by run.

A cell's runs follow from its rates and from the runs that it starts from. When runs finish, only their own cells and those
behind them are looked at again: the walk over a study costs as much as its runs, however many fleets train them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from synthbench.common.errors import BadInput
from synthbench.experiment import brackets, grids
from synthbench.experiment.cell_runs import CellRuns
from synthbench.experiment.cells import Planned
from synthbench.experiment.choice import Done, beyond, choose
from synthbench.experiment.runs import Cell, Run, RunId

if TYPE_CHECKING:
    from synthbench.experiment.plan import Experiment

Cells = dict[Cell, list[Run]]
Parents = dict[int, RunId | None]  # by seed the run to start from, None from scratch


class Ready:
    """Runs that could start, by their kind; each kind in the order in which its runs became ready."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[RunId, Run]] = {}
        self._count = 0

    def add(self, run: Run) -> None:
        of_kind = self.kinds.setdefault(run.kind, {})
        self._count += run.id not in of_kind
        of_kind[run.id] = run

    def discard(self, run: Run) -> None:
        of_kind = self.kinds.get(run.kind, {})
        self._count -= of_kind.pop(run.id, None) is not None
        if not of_kind:
            self.kinds.pop(run.kind, None)

    def __contains__(self, run: Run) -> bool:
        return run.id in self.kinds.get(run.kind, {})

    def __iter__(self) -> Iterator[Run]:
        return (run for of_kind in self.kinds.values() for run in of_kind.values())

    def __len__(self) -> int:
        return self._count


@dataclass(eq=False)
class _Node:
    """A planned cell. behind: the cells that start from it or have a share of the rate chosen in it. missing: those
    of its runs that are not known. starts: what cells behind it start from."""

    one: Planned
    place: int
    parent: _Node | None
    behind: list[_Node] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    missing: set[RunId] = field(default_factory=set)
    starts: Parents = field(default_factory=dict)
    is_stale: bool = False


class Walk:
    """The cells of an experiment, each with its runs in order of rate and seed, as they follow from runs that are known.

    known: finished runs, be they imagined; `finished` and `forgotten` say what has changed in it. done: those that really
    are, by which grids are extended; by default all. most: runs, beyond which BadInput is raised, to be completed by the
    card's origin. ready: the runs that are not known but could start; who trains some may take them out of it. grown: how
    often a grid was extended.
    """

    def __init__(self, experiment: Experiment, known: Done, done: Done | None = None, most: float = inf) -> None:
        self._experiment, self._known, self._most = experiment, known, most
        self._done = known if done is None else done
        self.ready, self.grown = Ready(), 0
        self._where: dict[RunId, tuple[Run, list[_Node]]] = {}
        self._stale: list[int] = []
        self._from_scratch: Parents = dict.fromkeys(experiment.card.seed_list)
        self._nodes: list[_Node] = []
        of_cell: dict[Cell, _Node] = {}
        for one in (one for stages in experiment.planned.values() for of_stage in stages for one in of_stage):
            node = _Node(one, len(self._nodes), of_cell[one.parent] if one.parent else None)
            self._nodes.append(node)
            of_cell[one.cell] = node
            for before in (node.parent, self._shared(one, of_cell)):
                if before:
                    before.behind.append(node)
            self._mark(node)
        self._of_cell = of_cell
        self._check(sum(node.one.of.is_last for node in self._nodes) * len(self._from_scratch))
        self.refresh()

    @property
    def cells(self) -> Cells:
        return {node.one.cell: node.runs for node in self._nodes}

    def cells_of(self, run: RunId) -> list[Cell]:
        """The cells that a run is in: two tasks may share runs, variants of one before the stage in which they differ."""
        return [node.one.cell for node in self._where[run][1]] if run in self._where else []

    def put_back(self, run: Run) -> None:
        """A run that was taken out of those that are ready, and that was not trained, is ready again."""
        if run.id in self._where and run.id not in self._known:
            self.ready.add(run)

    def run(self, name: RunId) -> Run | None:
        """The planned run of an id, None where there is none."""
        return self._where[name][0] if name in self._where else None

    def finished(self, runs: Iterable[RunId]) -> None:
        """These runs are known now."""
        for run in runs:
            planned, nodes = self._where.get(run, (None, ()))
            if planned:
                self.ready.discard(planned)
            for node in nodes:
                node.missing.discard(run)
                if node.behind or not node.missing:
                    self._mark(node)
        self.refresh()

    def forgotten(self, runs: Iterable[RunId]) -> None:
        """These runs are known no more: they are to be trained again."""
        for run in runs:
            planned, nodes = self._where.get(run, (None, ()))
            if planned:
                self.ready.add(planned)
            for node in nodes:
                node.missing.add(run)
                self._mark(node)
        self.refresh()

    def refresh(self) -> None:
        """Brings the cells up to date, those first that others start from."""
        while self._stale:
            node = self._nodes[heappop(self._stale)]
            node.is_stale = False
            self._replace(node, self._runs(node))
            starts = _parents(node.runs, self._known) if node.behind else {}
            has_shares = any(behind.parent is not node for behind in node.behind)
            if starts != node.starts or has_shares:
                node.starts = starts
                for behind in node.behind:
                    self._mark(behind)

    def _mark(self, node: _Node) -> None:
        if not node.is_stale:
            node.is_stale = True
            heappush(self._stale, node.place)

    def _shared(self, one: Planned, of_cell: Mapping[Cell, _Node]) -> _Node | None:
        """The cell of the optimizer whose chosen rate a variant has a share of."""
        variant = grids.variant_in(one.of.card, one.of.stage, one.cell.optimizer)
        return of_cell[one.cell._replace(optimizer=variant.of)] if variant and variant.of_tuned else None

    def _replace(self, node: _Node, runs: list[Run]) -> None:
        """Gives a cell its runs."""
        before, after = {run.id: run for run in node.runs}, {run.id: run for run in runs}
        for name in [name for name in before if name not in after]:
            run, nodes = self._where[name]
            nodes.remove(node)
            node.missing.discard(name)
            if not nodes:
                del self._where[name]
                self.ready.discard(run)
        for name in [name for name in after if name not in before]:
            nodes = self._where.setdefault(name, (after[name], []))[1]
            nodes.append(node)
            if name not in self._known:
                node.missing.add(name)
                if len(nodes) == 1:
                    self.ready.add(after[name])
        node.runs = runs

    def _runs(self, node: _Node) -> list[Run]:
        """The runs of a cell at its rates, and at those beyond them that the stage extends its grid to: where its edge is
        chosen, and where scores are read at target steps that lie beyond its rates. (The last stage's for what the card
        reads there alone: `quick` reads nothing at a chosen rate.)"""
        one, parents = node.one, node.parent.starts if node.parent else self._from_scratch
        rates = self._rates(one)
        self._check(max(len(self._where), len(rates) * len(parents)))
        runs = self._made(one, rates, parents)
        card, is_last = one.of.card, one.of.is_last
        for _ in range(one.of.stage.extend if len(rates) > 1 and runs else 0):
            if any(run.id not in self._done for run in runs):
                break
            rate = beyond(runs, self._done) if not is_last or brackets.reads_chosen_rate(card) else None
            if not rate and is_last and brackets.reads_between_rates(card):
                rate = brackets.towards(runs, self._done, card, one.cell.size)
            if rate is None:
                break
            runs += self._made(one, [rate], parents)
            self.grown += rate not in {run.lr for run in node.runs}
        return runs

    def _check(self, runs: int) -> None:
        """Raises BadInput for more runs than are allowed."""
        if runs > self._most:
            raise BadInput(f"at most {self._most} runs are allowed; give fewer seeds or rates.")

    def _rates(self, one: Planned) -> list[float]:
        """The learning rates of a cell. That of a variant with a share of the rate chosen for its optimizer is unknown
        until that is chosen."""
        variant = grids.variant_in(one.of.card, one.of.stage, one.cell.optimizer)
        if not (variant and variant.of_tuned):
            return one.of.grid(one.cell)
        runs = self._of_cell[one.cell._replace(optimizer=variant.of)].runs
        choice = choose(runs, self._known) if all(run.id in self._known for run in runs) else None
        return [float(f"{choice.lr * variant.of_tuned:.6g}")] if choice else []

    def _made(self, one: Planned, rates: Sequence[float], parents: Parents) -> list[Run]:
        if one.cell not in self._experiment.runs:
            self._experiment.runs[one.cell] = CellRuns(one.of.run(one.cell, 0.0, 0, None))
        return self._experiment.runs[one.cell].make(rates, parents)


def _parents(runs: Sequence[Run], known: Done) -> Parents:
    """By seed the run that later stages start from; a seed is absent while unknown, or for good if it diverged."""
    several = len({run.lr for run in runs}) > 1
    if several and any(run.id not in known for run in runs):
        return {}
    choice = choose(runs, known)
    chosen = [run for run in runs if choice and run.lr == choice.lr and run.id in known]
    return {run.seed: run.id for run in chosen if known[run.id].status == "ok"}
