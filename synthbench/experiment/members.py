"""An experiment's cells as the store has them, the rate chosen in each, and the weights that are not wanted any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthbench.experiment.plan import Choice, Experiment, Trial, choose, walk
from synthbench.experiment.runs import Cell, Result, RunId
from synthbench.experiment.store import Store


def enlist(experiment: Experiment, name: str, store: Store, done: Mapping[RunId, Result]) -> None:
    """Notes those runs of an experiment that are done, by this command or an earlier one."""
    cells = walk(experiment, done).cells.items()
    store.enlist(name, {run.id: (done[run.id].attempt, cell) for cell, runs in cells for run in runs if run.id in done})


def cells(name: str, store: Store, done: Mapping[RunId, Result]) -> dict[Cell, list[Trial]]:
    """The cells of an experiment with those of their runs that are done, whichever command asked for them."""
    rates = {run: identity["lr"] for run, identity in store.identities().items()}
    found: dict[Cell, list[Trial]] = {}
    for run, cell in store.members(name).items():
        if run in done and run in rates:
            found.setdefault(cell, []).append(Trial(run, rates[run]))
    return found


def chosen(trials: Sequence[Trial], done: Mapping[RunId, Result]) -> dict[RunId, Choice]:
    """The runs of a cell at its chosen rate."""
    choice = choose(trials, done)
    return {trial.id: choice for trial in trials if choice and trial.lr == choice.lr}


def drop_weights(experiment: Experiment, name: str, store: Store, keep: str) -> None:
    """Deletes the weights of an experiment's runs that are not to be kept: `none`, `chosen` (and all parents), `all`."""
    if keep == "all":
        return
    done, last = store.results(paths=False), experiment.card.stages[-1].name
    dropped = [
        (trial.id, done[trial.id].attempt)
        for cell, trials in cells(name, store, done).items()
        for trial in trials
        if keep == "none" or (cell.stage == last and trial.id not in chosen(trials, done))
    ]
    store.drop_weights(dropped)
