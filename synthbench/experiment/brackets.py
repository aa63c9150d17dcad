"""Grids that miss a target step: towards which rates they are extended, so that readings between rates are reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, nan

from synthbench.cards import RunnerCard
from synthbench.experiment.choice import Done, next_rate
from synthbench.experiment.runs import Run
from synthbench.scores.reading import BETWEEN_RATES, bracket, crossing, is_reached

Steps = Mapping[
    float, float | None
]  # of one seed, by rate that did not diverge: where it reaches the fit, None if never
SMALLER, NEITHER, LARGER = -1, 0, 1


def reads_between_rates(card: RunnerCard) -> bool:
    """Whether a card shows, ranks or claims something of scores that are read between rates."""
    return any(name.endswith(tuple(BETWEEN_RATES)) for name in _read(card))


def reads_chosen_rate(card: RunnerCard) -> bool:
    """The same of scores that are read at the chosen rate."""
    return not all(name.endswith(tuple(BETWEEN_RATES)) for name in _read(card))


def _read(card: RunnerCard) -> list[str]:
    return [*card.columns, *([card.rank] if card.rank else []), *read_by_claims(card)]


def read_by_claims(card: RunnerCard) -> list[str]:
    """The scores of finetuned models that claims read."""
    beside = [(claim, name) for claim in card.claims for name in (claim.no_worse, claim.given) if name]
    others = [name for claim, other in beside for name in claim.under_readings(other)]
    return [*(name for claim in card.claims for name in claim.scores), *others]


def towards(runs: Sequence[Run], done: Done, card: RunnerCard, size: float) -> float | None:
    """The rate that would come next on a cell's grid where a target step lies beyond its rates; None where enough seeds
    have rates on both sides of every target step, or no rate beyond the grid would help. The card's own target step goes
    first; a path without the score that is meant by fit asks for nothing. size: of the cell, with which target steps
    grow."""
    rates, seeds = sorted({run.lr for run in runs}), dict[int, dict[float, float | None]]()
    for run in runs:
        of_seed = seeds.setdefault(run.seed, {})
        path = done[run.id].path
        if done[run.id].status == "ok" and any(card.reading.fit_of in scores for scores in path.values()):
            of_seed[run.lr] = crossing(path, card.reading.fit, card.reading.fit_of)
    for target_step in sorted(card.reading.target_steps, key=lambda step: abs(log(step / card.reading.target_step))):
        if way := _way([*seeds.values()], rates, target_step * size):
            return next_rate(rates, is_low=way == SMALLER)
    return None


def _way(seeds: Sequence[Steps], rates: Sequence[float], target_step: float) -> int:
    """Where most of the seeds lack a rate that do not read a target step, if they are too many."""
    read = [bracket([*steps.values()], target_step) is not None for steps in seeds]
    if is_reached([0.0 if is_read else nan for is_read in read]):
        return NEITHER
    ways = [lacking(steps, rates, target_step) for steps, is_read in zip(seeds, read, strict=True) if not is_read]
    return max((SMALLER, LARGER), key=ways.count) if any(ways) else NEITHER


def lacking(steps: Steps, rates: Sequence[float], target_step: float) -> int:
    """On which side of its rates a seed that does not read a target step lacks one: LARGER where all are slower, SMALLER
    where all are faster; NEITHER where the rate at that end diverged, or does not reach the fit although others do."""
    reached = {lr: step for lr, step in steps.items() if step}
    if reached and max(reached.values()) < target_step:
        return SMALLER if rates[0] in reached else NEITHER
    is_slow = not reached or min(reached.values()) > target_step
    return LARGER if is_slow and rates[-1] in (reached or steps) else NEITHER
