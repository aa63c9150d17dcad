"""The members of an experiment in the store: its cells, the rate chosen in each, and weights to delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synthbench import plugins
from synthbench.common.collecting import uncollected
from synthbench.experiment.choice import Choice, Trial, choose
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Cell, OptimizerSpec, Result, RunId
from synthbench.store.results import Store

Identities = Mapping[RunId, Mapping[str, Any]]


@uncollected()
def usable_results(experiment: Experiment, store: Store) -> dict[RunId, Result]:
    """Finished runs, less those that a run still to train starts from and whose weights are lost."""
    done = store.results(paths=False)
    needed, lost = {run.parent for run in Plan(experiment, done).remaining()}, set[RunId | None]()
    parents: Identities = {}
    while needed := {run for run in done.keys() & needed - lost if not store.valid_weights(done[run])}:
        lost |= needed
        parents = parents or store.identities()
        needed = {parents[run]["parent"] for run in needed}  # one that is trained again needs its own parent in turn
    return {run: result for run, result in done.items() if run not in lost}


def enlist(experiment: Experiment, name: str, store: Store, done: Mapping[RunId, Result]) -> None:
    """Stores the finished runs of an experiment as its members. Runs of an earlier version of one of its plug-ins are
    dismissed."""
    cells = Plan(experiment, done).cells().items()
    store.enlist(name, [(run.id, done[run.id].attempt, cell) for cell, runs in cells for run in runs if run.id in done])
    if labels := [label for label, registered in experiment.optimizers.items() if plugins.plugin_of(registered.name)]:
        store.dismiss(name, _replaced(experiment, labels, store.members(name), store.identities()))


def _replaced(
    experiment: Experiment, labels: Sequence[str], members: Mapping[RunId, Sequence[Cell]], identities: Identities
) -> list[tuple[RunId, Cell]]:
    """Members of these optimizers whose code or arguments are not those of the experiment. (Of built-in ones, and of
    arguments on the card, the experiment itself would be another.)"""
    present = {label: {at.optimizers[label].fingerprint for at in experiment.points} for label in labels}
    return [
        (run, cell)
        for run, cells in members.items()
        for cell in cells
        if cell.optimizer in labels
        and run in identities
        and OptimizerSpec(**identities[run]["optimizer"]).fingerprint not in present[cell.optimizer]
    ]


class Narrowing(NamedTuple):
    """Which runs of an experiment count: those of some seeds, and in the last stage of some updates; None for all."""

    seeds: Sequence[int] | None = None
    updates: Sequence[str] | None = None

    def keeps(self, seed: int, cell: Cell, last: str) -> bool:
        """last: the name of the last stage."""
        has_update = self.updates is None or cell.stage != last or cell.update in self.updates
        return has_update and (self.seeds is None or seed in self.seeds)


EVERYTHING = Narrowing()


class Cells(NamedTuple):
    """The cells of an experiment. trials: those of their runs that are done. chosen: the runs at each chosen rate."""

    trials: dict[Cell, list[Trial]]
    chosen: dict[Cell, dict[RunId, Choice]]


def cells(name: str, store: Store, done: Mapping[RunId, Result]) -> Cells:
    """The cells of an experiment with those of their runs that are done, whichever command asked for them."""
    return cells_of(store.members(name), store.identities(), done)


def cells_of(
    members: Mapping[RunId, Sequence[Cell]], identities: Identities, done: Mapping[RunId, Result],
    narrowing: Narrowing = EVERYTHING, last: str = "",
) -> Cells:  # fmt: skip
    """The same of what is read already. last: the name of the last stage, for what is narrowed.

    Of a cell only the seeds that have every rate, if there are any: rates are compared over the same seeds. And only
    runs that started from a chosen run: with more seeds the choice in an earlier stage can change.
    """
    trials_of: dict[Cell, list[Trial]] = {}
    for run, cells_of_run in members.items():
        for cell in cells_of_run if run in done and run in identities else ():
            if not narrowing.keeps(identities[run]["seed"], cell, last):
                continue
            trials_of.setdefault(cell, []).append(Trial(run, identities[run]["lr"]))
    started, choices = set[RunId | None]([None]), dict[Cell, dict[RunId, Choice]]()
    for cell in sorted(trials_of, key=lambda cell: len(cell.base)):
        trials = [trial for trial in trials_of[cell] if identities[trial.id]["parent"] in started]
        trials_of[cell] = _with_every_rate(trials, identities)
        choices[cell] = chosen(trials_of[cell], done)
        started |= choices[cell].keys()
    return Cells({cell: trials for cell, trials in trials_of.items() if trials}, choices)


def _with_every_rate(trials: Sequence[Trial], identities: Identities) -> list[Trial]:
    """The trials of the seeds that have every rate; all where no seed has."""
    rates = {trial.lr for trial in trials}
    of_seed: dict[int, list[Trial]] = {}
    for trial in trials:
        of_seed.setdefault(identities[trial.id]["seed"], []).append(trial)
    complete = [trial for of_one in of_seed.values() if len(of_one) == len(rates) for trial in of_one]
    return complete or list(trials)


def chosen(trials: Sequence[Trial], done: Mapping[RunId, Result]) -> dict[RunId, Choice]:
    """The runs of a cell at its chosen rate."""
    choice = choose(trials, done)
    return {trial.id: choice for trial in trials if choice and trial.lr == choice.lr}


def drop_weights(experiment: Experiment, name: str, store: Store, keep: str) -> None:
    """Deletes weights of an experiment's runs. keep: `none`, `chosen` (parents and runs at each chosen rate) or `all`."""
    if keep == "all":
        return
    done, last = store.results(paths=False), experiment.card.stages[-1].name
    representing = {run for choices in cells(name, store, done).chosen.values() for run in choices}
    dropped = [
        (run.id, done[run.id].attempt)
        for cell, runs in Plan(experiment, done).cells().items()
        for run in runs
        if run.id in done and (keep == "none" or (cell.stage == last and run.id not in representing))
    ]
    store.drop_weights(dropped)
