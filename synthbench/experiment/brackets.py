"""Grids that miss a target step: by which rates they are extended, so that readings between rates are reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, nan, sqrt

from synthbench.cards import RunnerCard
from synthbench.experiment.choice import Done, next_rate
from synthbench.experiment.readings import wanted
from synthbench.experiment.runs import Run
from synthbench.scores.reading import BETWEEN_RATES, bracket, is_reached

# Of one seed, by rate that did not diverge: the step at which it reaches the fit, None if never.
Steps = Mapping[float, float | None]


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
    """The rate that would come next on a cell's grid where a target step lies beyond its rates, or between one that reaches
    the fit too early and one that never does; None where enough seeds have rates on both sides of every target step, or no
    rate would help. The card's own target step goes first; a path without the score that is meant by fit asks for nothing.
    size: of the cell, with which target steps grow."""
    rates, seeds = sorted({run.lr for run in runs}), dict[int, dict[float, float | None]]()
    of = wanted(card.reading, size)
    for run in runs:
        of_seed = seeds.setdefault(run.seed, {})
        if done[run.id].status == "ok" and (readings := done[run.id].reading(of)).has_fit:
            of_seed[run.lr] = readings.step_to_fit
    for target_step in sorted(card.reading.target_steps, key=lambda step: abs(log(step / card.reading.target_step))):
        if rate := most_wanted([*seeds.values()], rates, target_step * size):
            return rate
    return None


def most_wanted(seeds: Sequence[Steps], rates: Sequence[float], target_step: float) -> float | None:
    """Where too many seeds do not read a target step: the rate that most of them lack, the smaller one in a tie."""
    read = [bracket([*steps.values()], target_step) is not None for steps in seeds]
    if is_reached([0.0 if is_read else nan for is_read in read]):
        return None
    wanted = (lacking(steps, rates, target_step) for steps, is_read in zip(seeds, read, strict=True) if not is_read)
    counts = Counter(sorted(rate for rate in wanted if rate))
    return counts.most_common(1)[0][0] if counts else None


def lacking(steps: Steps, rates: Sequence[float], target_step: float) -> float | None:
    """The rate that a seed lacks which does not read a target step: a larger one than all where all are slower; where all
    that reach the fit are faster, a smaller one, or one between them and a smaller rate that never does. None where the
    rate at that end diverged, or the largest does not reach the fit although others do."""
    reached = {lr: step for lr, step in steps.items() if step}
    if reached and max(reached.values()) < target_step:
        too_slow = [lr for lr in steps if lr < min(reached)]
        if too_slow:
            return float(f"{sqrt(max(too_slow) * min(reached)):.3g}")
        return next_rate(rates, is_low=True) if rates[0] in reached else None
    is_slow = not reached or min(reached.values()) > target_step
    return next_rate(rates, is_low=False) if is_slow and rates[-1] in (reached or steps) else None
