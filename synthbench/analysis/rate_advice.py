"""Cells without a reading at the target step: at which step each learning rate reaches the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import median
from typing import NamedTuple

from synthbench.analysis.rows import ExperimentResults
from synthbench.cards import RunnerCard
from synthbench.experiment.readings import wanted
from synthbench.experiment.runs import Cell
from synthbench.scores.reading import bracket, is_reached

# By rate: the step at which one seed reaches the card's fit, None where it does not
Steps = Mapping[float, float | None]


class Unread(NamedTuple):
    """A cell that has no `@fit` value. rates: all. reached: by rate that reaches the fit, the median step over seeds.
    bracketed: seeds, of all seeds, whose rates lie on both sides of the target step."""

    cell: Cell
    target_step: float
    rates: list[float]
    reached: dict[float, float]
    bracketed: int
    seeds: int


def unread(results: ExperimentResults, card: RunnerCard) -> list[Unread]:
    """The cells of the last stage that have no reading although not all of their runs diverged; without variants, whose
    rates are the card's, and optimizers that set their rates themselves."""
    cells = [
        cell
        for cell, trials in results.cells.items()
        if cell.stage == card.stages[-1].name and cell.optimizer not in card.variants
        if not results.identities[trials[0].id]["optimizer"]["arguments"].get("own_rate")
    ]
    cells.sort(key=lambda cell: (cell.task, cell.base, cell.optimizer, cell.update, cell.size))
    judged = (of_cell(cell, _steps(cell, results, card), card) for cell in cells)
    return [result for result in judged if result]


def _steps(cell: Cell, results: ExperimentResults, card: RunnerCard) -> list[Steps]:
    """By seed, of those whose paths have the score that is meant by fit."""
    of_seed: dict[int, dict[float, float | None]] = {}
    of = wanted(card.reading, cell.size)
    for trial in results.cells[cell]:
        result = results.results[trial.id]
        if result.status == "ok" and (readings := result.reading(of)).has_fit:
            of_seed.setdefault(results.seed(trial.id), {})[trial.lr] = readings.step_to_fit
    return [of_seed[seed] for seed in sorted(of_seed)]


def of_cell(cell: Cell, seeds: Sequence[Steps], card: RunnerCard) -> Unread | None:
    """A cell, given the steps of its seeds; None where enough have rates on both sides of the target step."""
    target_step = card.reading.target_step * cell.size
    bracketed = [bracket([*steps.values()], target_step) is not None for steps in seeds]
    if not seeds or is_reached([0.0 if is_bracketed else nan for is_bracketed in bracketed]):
        return None
    rates = sorted({lr for steps in seeds for lr in steps})
    of_rate = {lr: [step for steps in seeds if (step := steps.get(lr))] for lr in rates}
    reached = {lr: median(steps) for lr, steps in of_rate.items() if steps}
    return Unread(cell, target_step, rates, reached, sum(bracketed), len(seeds))
