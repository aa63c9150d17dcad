"""Rows: what a cell of an experiment showed, seed by seed. Read from the store; shipped as reference rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.analysis.between_rates import between_rates
from synthbench.cards import AxisCard, Card, RunnerCard
from synthbench.cards.axis import Value, value_text
from synthbench.experiment.choice import Choice, Trial
from synthbench.experiment.readings import Readings, wanted
from synthbench.experiment.runs import Cell, Result, RunId, Scores
from synthbench.scores import SCORES, reading
from synthbench.scores.probes import BASE
from synthbench.store import members
from synthbench.store.members import EVERYTHING, Narrowing
from synthbench.store.results import Store
from synthbench.trainer.schedule import Schedule

Values = dict[int, float]  # by seed
AT_END = [name for name, score in SCORES.items() if score.level != "cell"]
AT_BASE = [name for name in SCORES if name.endswith(BASE)]
RUN_DIGITS = 6  # of a score of one run, in tables and in what is shipped
ON = " on "  # between an optimizer and what it finetunes
SEVERAL = " + "  # between the names of the devices that measured one row
SWEPT = ("learning", "forgetting", "rule_accuracy", "rule_fit", "fit")  # scores of every rate that a row keeps


class Row(Card):
    """One cell: an optimizer under an update, over its rates and seeds.

    lr: the chosen rate, None where every run diverged. edge: whether it lies at an end of the grid; edge_before: whether
    that of an earlier stage does. trials: learning rates by stage, empty where there is no record of them. runs, diverged:
    counts over all rates and seeds. values: by score and seed, at the end at the chosen rate, or (scores `x@fit`,
    `x@fits` and `x@steps`, of what is measured at the end) at the card's target step, or (`x@base`, of what probes measure)
    of the model that it starts from. censored: of scores `x@t` the
    seeds whose value is only a bound, `>` or `<`. target_steps: readings `x@fit` and `x@fits` by score, target step and
    seed. rates: scores at the end by rate, score and seed. size: trained items over those of the card. axes: the values of
    the axes that it differs in, by label. items: trained items by slice. variant_of: the optimizer, where `optimizer` is
    a variant's name; has_own_base: whether that pretrains under its own name. own_rate: whether the optimizer sets its
    learning rate itself, decay_in_force: whose weight decay it applies; see `plugins/trial.py`. start, start_lr: scores by
    seed, and the rate, of the pretrained models; start_exposure: their weight decay times the sum of their rates. device:
    what its runs were trained on, several names `joined`. reference: a shipped row.
    """

    task: str
    base: list[str]
    optimizer: str
    update: str
    weight_decay: float
    lr: float | None
    edge: bool
    edge_before: bool = False
    trials: list[int] = Field(default_factory=list)
    seeds: list[int]
    runs: int
    diverged: int
    values: dict[str, Values]
    censored: dict[str, dict[int, str]] = Field(default_factory=dict)
    target_steps: dict[str, dict[int, Values]]
    rates: dict[float, dict[str, Values]] = Field(default_factory=dict)
    size: float = 1.0
    axes: dict[str, Value] = Field(default_factory=dict)
    items: dict[str, int] = Field(default_factory=dict)
    variant_of: str | None = None
    has_own_base: bool = False
    own_rate: bool = False
    decay_in_force: str = "card"
    width: int = 0
    start: dict[str, Values]
    start_lr: float | None
    start_exposure: float | None = None
    device: str
    reference: bool = False

    @property
    def label(self) -> str:
        """The optimizer, with that of pretraining where it is another one: `muon on adamw`."""
        own = {self.optimizer} if self.has_own_base else {self.optimizer, self.variant_of}
        other = [name for name in self.base if name not in own]
        return f"{self.optimizer}{ON}{'/'.join(self.base)}" if other else self.optimizer

    @property
    def place(self) -> tuple[tuple[str, float | str], ...]:
        """Where on the card's axes it lies."""
        return tuple(sorted(self.axes.items()))

    @property
    def coordinates(self) -> dict[str, float | str]:
        """Its values on all that a claim may call an axis."""
        return {"size": self.size, "weight_decay": self.weight_decay} | self.axes

    @property
    def decay(self) -> str:
        """The weight decay in force: `0.1`, or `0.1, own 0` where some of it is the optimizer's own."""
        card, comma, own = self.decay_in_force.partition(", ")
        if card == "card":
            return f"{self.weight_decay:g}{comma}{own}"
        return self.decay_in_force if card != "none" or self.weight_decay else "0"

    @property
    def movable(self) -> str:
        """The update, a rank over the width that it is a part of: `lora-16/64`."""
        return f"{self.update}/{self.width}" if self.update.startswith("lora-") and self.width else self.update

    def exact(self, name: str) -> Values:
        """A score by seed, without the seeds of which only a bound is known: bounds have no differences."""
        bounds = self.censored.get(name, {})
        return {seed: value for seed, value in self.values.get(name, {}).items() if seed not in bounds}


class ExperimentResults(NamedTuple):
    """What the store has of an experiment. cells: its runs that are done. choices: the runs at each cell's chosen rate.
    identities: of all runs of results."""

    cells: Mapping[Cell, Sequence[Trial]]
    choices: Mapping[Cell, Mapping[RunId, Choice]]
    results: Mapping[RunId, Result]
    identities: Mapping[RunId, Mapping[str, Any]]

    def seed(self, run: RunId) -> int:
        return int(self.identities[run]["seed"])


def read_results(store: Store, experiment: str, narrowing: Narrowing = EVERYTHING, last: str = "") -> ExperimentResults:
    """last: the name of the last stage, for what is narrowed."""
    enlisted, results, identities = store.known(experiment)
    return ExperimentResults(*members.cells_of(enlisted, identities, results, narrowing, last), results, identities)


def rows_of(results: ExperimentResults, card: RunnerCard) -> list[Row]:
    """A row for each cell of the last stage, by task, optimizers and update."""
    last = card.stages[-1].name
    tuned = {
        (cell.task, *cell.base, cell.optimizer, trial.id): tuning
        for cell, trials in results.cells.items() if cell.stage != last for tuning in [_tuning(cell, results)]
        for trial in trials
    }  # fmt: skip
    rows = [
        _row(cell, trials, card, results).model_copy(update=_trials(cell, trials, tuned, card, results))
        for cell, trials in results.cells.items()
        if cell.stage == last
    ]
    rows = [_with_sizes(row, rows, card) for row in rows]
    values = {axis.name: axis.values for axis in card.axes}
    return sorted(rows, key=lambda row: (row.task, row.base, row.optimizer, rank(row.update), _places(row, values)))


def _places(row: Row, values: Mapping[str, Sequence[Value]]) -> list[int]:
    """Where a row is on each axis; first where it is not on it, last at a value that the card has no more."""
    return [
        0 if (value := row.axes.get(label)) is None else 1 + (of_axis.index(value) if value in of_axis else len(of_axis))
        for label, of_axis in values.items()
    ]  # fmt: skip


def rank(update: str) -> tuple[int, int]:
    """Full updates first, then low-rank ones from the largest rank down."""
    return (1, -int(update[5:])) if update.startswith("lora-") else (0, len(update))


def applies(name: str, row: Row) -> bool:
    """Whether a score has a meaning for a row: its score at the end was measured, or every run diverged."""
    at_end = "rule_accuracy" if name.endswith("@t") else name if name.endswith(BASE) else name.partition("@")[0]
    return row.lr is None or bool(row.values.get(at_end))


def on_axis(label: str, value: Value) -> str:
    """A value on an axis: `decay 0.1`."""
    return f"{label} {value_text(value)}"


def joined(devices: Iterable[str]) -> str:
    """The names of devices as one; each name once."""
    return SEVERAL.join(sorted({name for device in devices for name in device.split(SEVERAL)}))


class Stopped(NamedTuple):
    """A cell of an earlier stage that diverged, from which nothing starts. seeds: those that diverged. entirely: all."""

    cell: Cell
    seeds: list[int]
    entirely: bool


def stopped(results: ExperimentResults, card: RunnerCard) -> list[Stopped]:
    """The cells of earlier stages that diverged at some seeds, or at all."""
    cells = []
    for cell, trials in results.cells.items():
        started = results.choices[cell] or [trial.id for trial in trials]
        diverged = [run for run in started if results.results[run].status == "diverged"]
        if diverged and cell.stage != card.stages[-1].name:
            seeds = sorted({results.seed(run) for run in diverged})
            cells.append(Stopped(cell, seeds, len(diverged) == len(started)))
    return cells


def _row(cell: Cell, trials: Sequence[Trial], card: RunnerCard, stored: ExperimentResults) -> Row:
    results, identities = stored.results, stored.identities
    runs, choices = [trial.id for trial in trials], stored.choices[cell]
    seed_of = {run: stored.seed(run) for run in runs}
    seeds = sorted(set(seed_of.values()))
    converged = [run for run in runs if results[run].status == "ok"]
    chosen = [run for run in converged if run in choices]
    values = _at_end({seed_of[run]: results[run].scores for run in chosen})
    measured = [name for name, by_seed in values.items() if by_seed]
    of = wanted(card.reading, cell.size)
    read = {run: results[run].reading(of) for run in converged}
    rates_of: dict[int, list[Readings]] = {seed: [] for seed in seeds}
    for run in converged:
        rates_of[seed_of[run]].append(read[run])
    target_steps = _between_rates(rates_of, measured, card, cell.size)
    values |= {name: by_step[card.reading.target_step] for name, by_step in target_steps.items()}
    values |= _at_steps({seed_of[run]: read[run] for run in chosen}, measured)
    steps, censored = _bounds({seed_of[run]: read[run].rule for run in chosen})
    spec = identities[runs[0]]["optimizer"]["arguments"]
    parents = list(dict.fromkeys(parent for run in runs if (parent := identities[run]["parent"])))
    start = _at_end({stored.seed(parent): results[parent].scores for parent in parents if parent in results})
    values |= {name: start[end] for name in AT_BASE if (end := name.removesuffix(BASE)) in start and start[end]}
    by_rate: dict[float, dict[int, Scores]] = {lr: {} for lr in sorted({trial.lr for trial in trials})}
    for run in converged:
        by_rate[identities[run]["lr"]][seed_of[run]] = results[run].scores
    return Row(
        task=cell.task, base=list(cell.base), optimizer=cell.optimizer, update=cell.update,
        weight_decay=cell.weight_decay, lr=identities[chosen[0]]["lr"] if chosen else None,
        edge=any(choices[run].edge for run in chosen), seeds=seeds, runs=len(runs), diverged=len(runs) - len(converged),
        values=values | {"steps_to_rule@t": steps}, censored={"steps_to_rule@t": censored},
        target_steps=target_steps, start={name: by_seed for name, by_seed in start.items() if by_seed},
        rates={lr: _by_name(of_rate, SWEPT) for lr, of_rate in by_rate.items()},
        start_lr=identities[parents[0]]["lr"] if parents else None,
        start_exposure=_exposure(identities[parents[0]]) if parents else None,
        own_rate=spec.get("own_rate", False), decay_in_force=spec.get("decay_in_force", "card"),
        size=cell.size, axes=dict(cell.point), items=identities[runs[0]]["examples"],
        width=identities[runs[0]]["model"]["width"],
        variant_of=card.optimizer_of(cell.optimizer) if cell.optimizer in card.variants else None,
        has_own_base=cell.optimizer in card.variants and card.root(cell.optimizer) == cell.optimizer,
        device=joined(results[run].device for run in runs),
    )  # fmt: skip


def _exposure(run: Mapping[str, Any]) -> float:
    """A run's weight decay times the sum of its rates."""
    schedule = Schedule(run["steps"], run["schedule"], run["warmup"])
    return float(run["weight_decay"] * run["lr"] * sum(map(schedule.factor, range(run["steps"]))))


Tuning = tuple[int, bool]  # how many rates were tried, and whether the best one lies at the edge of their grid


def _tuning(cell: Cell, stored: ExperimentResults) -> Tuning:
    choices = stored.choices[cell].values()
    return len({trial.lr for trial in stored.cells[cell]}), any(choice.edge for choice in choices)


def _trials(
    cell: Cell, trials: Sequence[Trial], tuned: Mapping[tuple[str, ...], Tuning], card: RunnerCard,
    stored: ExperimentResults,
) -> dict[str, Any]:  # fmt: skip
    """A row's trials by stage, and whether the best rate of an earlier stage lies at an edge. tuned: by task, path and run,
    for cells at several points of the axes have one path."""
    before, run = list[Tuning](), trials[0].id
    for length in range(len(cell.base), 0, -1):
        run = stored.identities[run]["parent"]
        before.insert(0, tuned.get((cell.task, *cell.base[:length], run), (0, False)))
    variant = card.variants.get(cell.optimizer)
    if variant and variant.of_tuned:  # its rate is a share of the best of these
        of = cell._replace(optimizer=variant.of)
        cell = of if of in stored.cells else cell
    count, _ = _tuning(cell, stored)
    return {"trials": [*(rates for rates, _ in before), count], "edge_before": any(edge for _, edge in before)}


def _at_end(ends: Mapping[int, Scores]) -> dict[str, Values]:
    """All scores at the end by seed, those that were not measured, too."""
    names = {name for scores in ends.values() for name in scores}
    return {name: Values() for name in AT_END} | _by_name(ends, [name for name in AT_END if name in names])


def _to_rule(accuracies: Mapping[int, Mapping[int, float]], card: RunnerCard) -> tuple[Values, dict[int, str]]:
    """By seed where rule accuracy, by items, finds the rule; and the marks of values that are only bounds."""
    return _bounds({seed: reading.first_reaching(curve, card.reading.rule) for seed, curve in accuracies.items()})


def _bounds(reached: Mapping[int, reading.Reached | None]) -> tuple[Values, dict[int, str]]:
    """By seed where something is reached, and the marks of values that are only bounds."""
    known = {seed: value for seed, value in reached.items() if value}
    marks = {seed: value.censored for seed, value in known.items() if value.censored}
    return {seed: value.value for seed, value in known.items()}, marks


def _with_sizes(row: Row, rows: Sequence[Row], card: RunnerCard) -> Row:
    """The row with the least number of trained rule items that finds the rule, where rows differ in size."""
    same = ("task", "base", "optimizer", "update")
    alike = [other for other in rows if all(getattr(other, name) == getattr(row, name) for name in same)]
    sizes = [other for other in alike if _without(other, card) == _without(row, card)]
    if len({other.items.get("rule") for other in sizes}) == 1:
        return row
    accuracies = {seed: {other.items["rule"]: other.values["rule_accuracy"].get(seed, nan) for other in sizes}
                  for seed in row.seeds}  # fmt: skip
    items, censored = _to_rule(accuracies, card)
    name = "examples_to_rule@t"
    changes = {"values": row.values | {name: items}, "censored": row.censored | {name: censored}}
    return row.model_copy(update=changes)


def changes_items(axis: AxisCard) -> bool:
    """Whether an axis changes how many rule items are trained."""
    return axis.path.endswith((".size", ".examples.rule"))


def _without(row: Row, card: RunnerCard) -> dict[str, Value]:
    """A row's place on the axes that do not change how many items are trained."""
    of_items = {axis.name for axis in card.axes if changes_items(axis)}
    return {label: value for label, value in row.axes.items() if label not in of_items}


def _between_rates(
    rates_of: Mapping[int, Sequence[Readings]], measured: Sequence[str], card: RunnerCard, size: float
) -> dict[str, dict[int, Values]]:
    """The readings of measured scores between the rates of each seed, by name, target step and seed; without seeds where
    too few reach a target step."""
    ends = {end: [name for name in measured if f"{name}{end}" in SCORES] for end in reading.BETWEEN_RATES}
    found: dict[str, dict[int, Values]] = {
        f"{name}{end}": {} for name in measured for end, names in ends.items() if name in names
    }
    steps, seeds = card.reading.target_steps, [*rates_of]
    for step, both in zip(
        steps, between_rates([*rates_of.values()], [step * size for step in steps], measured), strict=True
    ):
        for (end, names), values_RS in zip(ends.items(), both, strict=True):
            columns = dict(zip(measured, rounded(values_RS).T.tolist(), strict=True))
            for name in names:
                values = {seed: value for seed, value in zip(seeds, columns[name], strict=True) if value == value}
                found[f"{name}{end}"][step] = values if reading.is_reached(columns[name]) else {}
    return found


def _at_steps(chosen: Mapping[int, Readings], measured: Sequence[str]) -> dict[str, Values]:
    """The readings of measured scores at the card's target step, by name and seed, at the chosen rate."""
    at_target = {seed: readings.at_target for seed, readings in chosen.items()}
    names = [name for name in measured if f"{name}@steps" in SCORES]
    return {f"{name}@steps": by_seed for name, by_seed in _by_name(at_target, names).items()}


def _by_name(scores: Mapping[int, Scores], names: Sequence[str]) -> dict[str, Values]:
    """Scores by name and seed, without the seeds at which one was not measured."""
    seeds = sorted(scores)
    values_SN = np.array([[scores[seed].get(name, nan) for name in names] for seed in seeds])
    columns = rounded(values_SN.reshape(len(seeds), len(names))).T.tolist()
    return {
        name: {seed: value for seed, value in zip(seeds, column, strict=True) if value == value}
        for name, column in zip(names, columns, strict=True)
    }


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`round(value, RUN_DIGITS)` of each: those that are very large, or so near to the middle between two neighbours that
    the product's own rounding could decide, by Python itself."""
    with np.errstate(all="ignore"):  # infinity less infinity
        scaled = values * 10.0**RUN_DIGITS
        found: NDArray[np.float64] = np.rint(scaled) / 10.0**RUN_DIGITS
        is_unsure = (abs(scaled) > 1e12) | (abs(abs(scaled - np.rint(scaled)) - 0.5) < 1e-3)
    found[is_unsure] = [round(value, RUN_DIGITS) for value in values[is_unsure].tolist()]
    return found
