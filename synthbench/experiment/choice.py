"""Choosing a learning rate: the one that stands for a cell, and the one that would come next beyond its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean
from typing import NamedTuple

from synthbench.experiment.runs import Result, Run, RunId

TIE = 0.01  # of validation learning: rates this close to the best are equal; more than half an item of any set
FORGETTING = ("fact_forgetting", "skill_forgetting")
Done = Mapping[RunId, Result]


class Choice(NamedTuple):
    """The rate that stands for a cell; edge: whether it lies at an end of its grid."""

    lr: float
    edge: bool


class Trial(NamedTuple):
    """What choosing a rate needs to know of a run."""

    id: RunId
    lr: float


def choose(runs: Sequence[Run] | Sequence[Trial], done: Done) -> Choice | None:
    """The best rate by mean `validation_learning` over seeds; ties within .01 go to the least forgetting, then to the
    lowest `validation_loss`, then to the lowest rate.

    So a saturated score chooses no rate: of those that learn everything the one stands that forgets least. Forgetting is
    the mean of `fact_forgetting` and `skill_forgetting` at the end, whichever there are. A diverged run counts as having
    learned nothing and forgotten everything. None where every run diverged or none is done.
    """
    rates = sorted({run.lr for run in runs})
    results: dict[float, list[Result]] = {lr: [] for lr in rates}
    for run in runs:
        if run.id in done:
            results[run.lr].append(done[run.id])
    valid = {lr: of_rate for lr, of_rate in results.items() if any(result.status == "ok" for result in of_rate)}
    if not valid:
        return None
    learned = {lr: _mean("validation_learning", of_rate, 0.0) for lr, of_rate in valid.items()}
    tied = [lr for lr in valid if learned[lr] >= max(learned.values()) - TIE]
    lr = min(tied, key=lambda rate: (_forgetting(valid[rate]), _mean("validation_loss", valid[rate], inf), rate))
    return Choice(lr, len(rates) > 1 and lr in (rates[0], rates[-1]))


def _forgetting(results: Sequence[Result]) -> float:
    """The mean forgetting of a rate; 0 where a stage has nothing to forget."""
    means = [_mean(name, results, 1.0) for name in FORGETTING]
    return fmean([mean for mean in means if mean == mean] or [0.0])


def _mean(score: str, results: Sequence[Result], of_diverged: float) -> float:
    return fmean([result.score(score) if result.status == "ok" else of_diverged for result in results])


def beyond(runs: Sequence[Run], done: Done) -> float | None:
    """The rate that would come next on a grid whose edge is chosen, by the grid's factor there; None if it is not."""
    choice, rates = choose(runs, done), sorted({run.lr for run in runs})
    if choice is None or not choice.edge:
        return None
    return next_rate(rates, is_low=choice.lr == rates[0])


def next_rate(rates: Sequence[float], *, is_low: bool) -> float:
    """The rate beyond the lowest or the highest of a grid in order, by the grid's factor there."""
    edge, neighbour = (rates[0], rates[1]) if is_low else (rates[-1], rates[-2])
    return float(f"{edge**2 / neighbour:.6g}")
