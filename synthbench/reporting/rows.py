"""Rows: what a cell of an experiment showed, seed by seed. Read from the store; shipped as reference rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthbench.cards import Card, RunnerCard
from synthbench.experiment.runs import Cell, Result, RunId
from synthbench.experiment.store import Store
from synthbench.scores import SCORES, reading

Values = dict[int, float]  # by seed


class Row(Card):
    """One cell: an optimizer under an update, over its rates and seeds.

    lr: the chosen rate, None where every run diverged. edge: whether it lies at an end of the grid. runs, diverged:
    counts over all rates and seeds. values: by score and seed, at the end at the chosen rate, or (scores `x@fit`) at
    the card's speed. speeds: readings `x@fit` by score, speed and seed. device: where it was measured. reference: a
    shipped row, not one of this folder.
    """

    task: str
    base: list[str]
    optimizer: str
    update: str
    weight_decay: float
    lr: float | None
    edge: bool
    seeds: list[int]
    runs: int
    diverged: int
    values: dict[str, Values]
    speeds: dict[str, dict[int, Values]]
    start: dict[str, Values]
    start_lr: float | None
    device: str
    reference: bool = False

    @property
    def label(self) -> str:
        """The optimizer, with that of pretraining where it is another one."""
        other = [name for name in self.base if name != self.optimizer]
        return f"{'/'.join(self.base)}>{self.optimizer}" if other else self.optimizer


def rows_of(store: Store, experiment: str, card: RunnerCard) -> list[Row]:
    """A row for each cell of the last stage, in the order in which the cells were first planned."""
    members = store.members(experiment)
    results, identities = store.results(members), store.identities()
    cells: dict[Cell, list[RunId]] = {}
    for run, (cell, _, _) in members.items():
        if cell.stage == card.stages[-1].name and run in results:
            cells.setdefault(cell, []).append(run)
    choices = {run: (chosen, edge) for run, (_, chosen, edge) in members.items()}
    rows = [_row(cell, runs, card, results, identities, choices) for cell, runs in cells.items()]
    return sorted(rows, key=lambda row: (row.task, row.base, row.optimizer, _rank(row.update)))


def _rank(update: str) -> tuple[int, int]:
    """Full updates first, then low-rank ones from the largest rank down."""
    return (1, -int(update[5:])) if update.startswith("lora-") else (0, len(update))


def _row(
    cell: Cell,
    runs: Sequence[RunId],
    card: RunnerCard,
    results: Mapping[RunId, Result],
    identities: Mapping[RunId, dict[str, Any]],
    choices: Mapping[RunId, tuple[bool, bool]],
) -> Row:
    seed_of = {run: int(identities[run]["seed"]) for run in runs}
    seeds = sorted(set(seed_of.values()))
    sound = [run for run in runs if results[run].status == "ok"]
    chosen = [run for run in sound if choices[run][0]]
    values: dict[str, Values] = {}
    speeds: dict[str, dict[int, Values]] = {}
    for name, score in SCORES.items():
        if score.level == "point":
            values[name] = _measured({seed_of[run]: results[run].score(name) for run in chosen})
        else:
            paths = {seed: [results[run].path for run in sound if seed_of[run] == seed] for seed in seeds}
            speeds[name] = {speed: readings(paths, name, card, speed) for speed in card.reading.speeds}
            values[name] = speeds[name][card.reading.speed]
    return Row(
        task=cell.task, base=list(cell.base), optimizer=cell.optimizer, update=cell.update,
        weight_decay=cell.weight_decay, lr=identities[chosen[0]]["lr"] if chosen else None,
        edge=any(choices[run][1] for run in chosen), seeds=seeds, runs=len(runs), diverged=len(runs) - len(sound),
        values=values, speeds=speeds, start=_starts(runs, results, identities),
        start_lr=next((identities[parent]["lr"] for run in runs if (parent := identities[run]["parent"])), None),
        device=results[runs[0]].device,
    )  # fmt: skip


def _starts(
    runs: Sequence[RunId], results: Mapping[RunId, Result], identities: Mapping[RunId, dict[str, Any]]
) -> dict[str, Values]:
    """Scores of the runs that these started from, by seed."""
    parents = {int(identities[run]["seed"]): identities[run]["parent"] for run in runs}
    known = {seed: results[parent] for seed, parent in parents.items() if parent in results}
    points = [name for name, score in SCORES.items() if score.level == "point"]
    found = {name: _measured({seed: result.score(name) for seed, result in known.items()}) for name in points}
    return {name: values for name, values in found.items() if values}


def readings(paths: Mapping[int, Sequence[reading.Path]], name: str, card: RunnerCard, speed: int) -> Values:
    """A score `x@fit` by seed; empty where too few seeds reach the speed for the cell to have a reading."""
    found = {
        seed: reading.of_seed(of_rates, name.removesuffix("@fit"), card.reading.fit, speed)
        for seed, of_rates in paths.items()
    }
    return _measured(found) if reading.is_reached(list(found.values())) else {}


def _measured(values: Mapping[int, float]) -> Values:
    return {seed: value for seed, value in sorted(values.items()) if value == value}
