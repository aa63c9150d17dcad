"""Rows: what a cell of an experiment showed, seed by seed. Read from the store; shipped as reference rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

from pydantic import Field

from synthbench.cards import Card, RunnerCard
from synthbench.experiment.choice import Trial
from synthbench.experiment.runs import Cell, Result, RunId
from synthbench.scores import SCORES, reading
from synthbench.store import members
from synthbench.store.results import Store

Values = dict[int, float]  # by seed
AT_END = [name for name, score in SCORES.items() if score.level != "cell"]
AT_FIT = [name for name in SCORES if name.endswith("@fit")]
DIGITS = 6  # kept of a score of one run: what a table is drawn of is also what is shipped
SWEPT = ("learning", "forgetting", "rule_accuracy", "rule_fit", "fit")  # scores of every rate that a row keeps


class Row(Card):
    """One cell: an optimizer under an update, over its rates and seeds.

    lr: the chosen rate, None where every run diverged. edge: whether it lies at an end of the grid. runs, diverged:
    counts over all rates and seeds. values: by score and seed, at the end at the chosen rate, or (scores `x@fit`) at the
    card's target_step. censored: of scores `x@t` the seeds whose value is only a bound, `>` or `<`. target steps: readings `x@fit`
    by score, target step and seed. rates: scores at the end by rate, score and seed. size: trained items over those of the
    card. items: trained items by slice. variant_of: the optimizer, where `optimizer` is a variant's name. width: of
    the model. device: where it was
    measured. reference: a shipped row, not one of this folder.
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
    censored: dict[str, dict[int, str]] = Field(default_factory=dict)
    target_steps: dict[str, dict[int, Values]]
    rates: dict[float, dict[str, Values]] = Field(default_factory=dict)
    size: float = 1.0
    items: dict[str, int] = Field(default_factory=dict)
    variant_of: str | None = None
    width: int = 0
    start: dict[str, Values]
    start_lr: float | None
    device: str
    reference: bool = False

    @property
    def label(self) -> str:
        """The optimizer, with that of pretraining where it is another one."""
        other = [name for name in self.base if name not in (self.optimizer, self.variant_of)]
        return f"{'/'.join(self.base)}>{self.optimizer}" if other else self.optimizer

    @property
    def movable(self) -> str:
        """The update, a rank over the width that it is a part of: `lora-16/64`."""
        return f"{self.update}/{self.width}" if self.update.startswith("lora-") and self.width else self.update

    def exact(self, name: str) -> Values:
        """A score by seed, without the seeds of which only a bound is known: bounds have no differences."""
        bounds = self.censored.get(name, {})
        return {seed: value for seed, value in self.values.get(name, {}).items() if seed not in bounds}


class Found(NamedTuple):
    """What the store has of an experiment. cells: its runs that are done. identities: of every run in the store."""

    cells: Mapping[Cell, Sequence[Trial]]
    results: Mapping[RunId, Result]
    identities: Mapping[RunId, Mapping[str, Any]]


def found_in(store: Store, experiment: str) -> Found:
    results = store.results(store.members(experiment))
    return Found(members.cells(experiment, store, results), results, store.identities())


def rows_of(found: Found, card: RunnerCard) -> list[Row]:
    """A row for each cell of the last stage, by task, optimizers and update."""
    last = card.stages[-1].name
    rows = [_row(cell, trials, card, found) for cell, trials in found.cells.items() if cell.stage == last]
    rows = [row.model_copy(update=_by_size(row, rows, card)) for row in rows]
    return sorted(rows, key=lambda row: (row.task, row.base, row.optimizer, _rank(row.update), row.size))


class Stopped(NamedTuple):
    """A cell from which nothing could start at some seeds, or at all, because it diverged. optimizer: of the first stage.
    said: a sentence."""

    optimizer: str
    said: str
    entirely: bool


def stopped(found: Found, card: RunnerCard) -> list[Stopped]:
    """The cells of earlier stages that diverged."""
    sentences = []
    for cell, trials in found.cells.items():
        started = members.chosen(trials, found.results) or [trial.id for trial in trials]
        diverged = [run for run in started if found.results[run].status == "diverged"]
        if diverged and cell.stage != card.stages[-1].name:
            seeds = sorted({found.identities[run]["seed"] for run in diverged})
            said = (
                f"{cell.stage} of {cell.optimizer} ({cell.task}) diverged at seed{'s' * (len(seeds) > 1)} "
                f"{', '.join(map(str, seeds))}: nothing was started from there."
            )
            sentences.append(
                Stopped((*cell.base, cell.optimizer)[0], said[0].upper() + said[1:], len(diverged) == len(started))
            )
    return sentences


def _rank(update: str) -> tuple[int, int]:
    """Full updates first, then low-rank ones from the largest rank down."""
    return (1, -int(update[5:])) if update.startswith("lora-") else (0, len(update))


def _row(
    cell: Cell,
    trials: Sequence[Trial],
    card: RunnerCard,
    found: Found,
) -> Row:
    _, results, identities = found
    runs, choices = [trial.id for trial in trials], members.chosen(trials, results)
    seed_of = {run: int(identities[run]["seed"]) for run in runs}
    seeds = sorted(set(seed_of.values()))
    sound = [run for run in runs if results[run].status == "ok"]
    chosen = [run for run in sound if run in choices]
    values = {name: _measured({seed_of[run]: results[run].score(name) for run in chosen}) for name in AT_END}
    paths = {seed: [results[run].path for run in sound if seed_of[run] == seed] for seed in seeds}
    target_steps = {
        name: {
            target_step: readings(paths, name, card, target_step, cell.size)
            for target_step in card.reading.target_steps
        }
        for name in AT_FIT
    }
    values |= {name: by_speed[card.reading.target_step] for name, by_speed in target_steps.items()}
    values |= {f"{name}_over_fit": over_fit(paths, name, card, cell.size) for name in reading.OVER_FIT}
    reached = {seed_of[run]: _steps_to_rule(results[run], card) for run in chosen}
    rates = {lr: [run for run in sound if identities[run]["lr"] == lr] for lr in sorted({trial.lr for trial in trials})}
    return Row(
        task=cell.task, base=list(cell.base), optimizer=cell.optimizer, update=cell.update,
        weight_decay=cell.weight_decay, lr=identities[chosen[0]]["lr"] if chosen else None,
        edge=any(choices[run].edge for run in chosen), seeds=seeds, runs=len(runs), diverged=len(runs) - len(sound),
        values=values | {"steps_to_rule@t": {seed: one.value for seed, one in reached.items() if one}},
        censored={"steps_to_rule@t": {seed: one.censored for seed, one in reached.items() if one and one.censored}},
        target_steps=target_steps, start=_starts(runs, results, identities),
        rates={
            lr: {name: _measured({seed_of[run]: results[run].score(name) for run in own}) for name in SWEPT}
            for lr, own in rates.items()
        },
        start_lr=next((identities[parent]["lr"] for run in runs if (parent := identities[run]["parent"])), None),
        size=cell.size, items=identities[runs[0]]["examples"],
        width=card.shape.width, variant_of=card.optimizer_of(cell.optimizer) if cell.optimizer in card.variants else None,
        device=results[runs[0]].device,
    )  # fmt: skip


def _steps_to_rule(result: Result, card: RunnerCard) -> reading.Reached | None:
    path = {step: scores["rule_accuracy"] for step, scores in result.path.items() if "rule_accuracy" in scores}
    return reading.first_reaching(path, card.reading.rule)


def _by_size(row: Row, rows: Sequence[Row], card: RunnerCard) -> dict[str, Any]:
    """What a row says of all sizes of its task: the least number of trained rule items that find the rule."""
    own = [r for r in rows if _setting(r) == _setting(row)]
    if len(own) == 1 or "rule" not in row.items:
        return {}
    found = {
        seed: reading.first_reaching(
            {one.items["rule"]: one.values["rule_accuracy"].get(seed, nan) for one in own}, card.reading.rule
        )
        for seed in row.seeds
    }
    name = "examples_to_rule@t"
    return {
        "values": row.values | {name: {seed: one.value for seed, one in found.items() if one}},
        "censored": row.censored | {name: {seed: one.censored for seed, one in found.items() if one and one.censored}},
    }


def _setting(row: Row) -> tuple[Any, ...]:
    """What rows share that differ in size alone."""
    return row.task, row.base, row.optimizer, row.update, row.weight_decay


def _starts(
    runs: Sequence[RunId], results: Mapping[RunId, Result], identities: Mapping[RunId, Mapping[str, Any]]
) -> dict[str, Values]:
    """Scores of the runs that these started from, by seed."""
    parents = {int(identities[run]["seed"]): identities[run]["parent"] for run in runs}
    known = {seed: results[parent] for seed, parent in parents.items() if parent in results}
    found = {name: _measured({seed: result.score(name) for seed, result in known.items()}) for name in AT_END}
    return {name: values for name, values in found.items() if values}


def readings(
    paths: Mapping[int, Sequence[reading.Path]], name: str, card: RunnerCard, target_step: int, size: float = 1.0
) -> Values:
    """A score `x@fit` by seed; empty where too few seeds reach the target step for the cell to have a reading.

    target step: steps for the card's own size; a set twice as large has twice the time.
    """
    score, fit = name.removesuffix("@fit"), card.reading.fit
    return _enough(
        {seed: reading.of_seed(of_rates, score, fit, target_step * size) for seed, of_rates in paths.items()}
    )


def over_fit(paths: Mapping[int, Sequence[reading.Path]], name: str, card: RunnerCard, size: float = 1.0) -> Values:
    """A score `x_over_fit` by seed, at the card's target step; empty where too few seeds reach it."""
    fit, target_step = card.reading.fit, card.reading.target_step * size
    return _enough({seed: reading.over_fit(own, name, fit, target_step) for seed, own in paths.items()})


def _enough(found: Mapping[int, float]) -> Values:
    return _measured(found) if reading.is_reached(list(found.values())) else {}


def _measured(values: Mapping[int, float]) -> Values:
    return {seed: round(value, DIGITS) for seed, value in sorted(values.items()) if value == value}
