"""Where a row is read at no target step: how fast its rates are, and so which rates to add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import median

from synthbench.analysis.rows import Found
from synthbench.cards import RunnerCard
from synthbench.experiment.choice import Trial
from synthbench.experiment.runs import Cell
from synthbench.scores.reading import bracket, crossing, is_reached

MOST = 6  # sentences
# By rate: the step at which one seed reaches the card's fit, None where it does not
Steps = Mapping[float, float | None]


def advice(found: Found, card: RunnerCard) -> list[str]:
    """A sentence for each cell of the last stage that is read at no target step although not all of its runs diverged; the
    first MOST of them, and how many more there are. Variants are left as the card has them."""
    own = sorted(
        (cell for cell in found.cells if cell.stage == card.stages[-1].name and cell.optimizer not in card.variants),
        key=lambda cell: (cell.task, cell.base, cell.optimizer, cell.update, cell.size),
    )
    said = [words for cell in own if (words := said_of(cell, _steps(found.cells[cell], found, card), card))]
    more = len(said) - MOST
    return said[:MOST] + [f"{more} more row{'s are' if more > 1 else ' is'} read at no target_step."] * (more > 0)


def _steps(trials: Sequence[Trial], found: Found, card: RunnerCard) -> list[Steps]:
    """By seed."""
    of_seed: dict[int, dict[float, float | None]] = {}
    for trial in trials:
        result = found.results[trial.id]
        if result.status == "ok":
            seed = int(found.identities[trial.id]["seed"])
            of_seed.setdefault(seed, {})[trial.lr] = crossing(result.path, card.reading.fit)
    return [of_seed[seed] for seed in sorted(of_seed)]


def said_of(cell: Cell, seeds: Sequence[Steps], card: RunnerCard) -> str | None:
    """A sentence on a cell, given the steps of its seeds; None where enough have rates on both sides of the target_step."""
    target_step, fit = card.reading.target_step * cell.size, card.reading.fit
    bracketed = [bracket([*steps.values()], target_step) is not None for steps in seeds]
    if not seeds or is_reached([0.0 if one else nan for one in bracketed]):
        return None
    size = f", {cell.size:g}x the items" * (cell.size != 1)
    who, aim = f"{cell.optimizer} ({cell.update}) on {cell.task}{size}", f"{target_step:g} steps to fit {fit:g}"
    rates = sorted({lr for steps in seeds for lr in steps})
    reached = {lr: median(own) for lr in rates if (own := [step for steps in seeds if (step := steps.get(lr))])}
    if not reached:
        return f"{who} reaches fit {fit:g} at no rate: it needs more steps, or other rates (--lr)."
    quickest, slowest = min(reached, key=lambda lr: reached[lr]), max(reached, key=lambda lr: reached[lr])
    if reached[slowest] < target_step:
        return (
            f"{who} is too quick to be read at {aim}: at its slowest rate, {slowest:.3g}, it takes "
            f"{reached[slowest]:.0f}; add {_slower(slowest, rates)} (--lr)."
        )
    if reached[quickest] > target_step:
        quicker = "larger rates" if quickest == max(rates) else "rates at which it is quicker"
        return (
            f"{who} is too slow to be read at {aim}: at its quickest rate, {quickest:.3g}, it takes "
            f"{reached[quickest]:.0f}; add {quicker} (--lr)."
        )
    medians = ", ".join(f"{step:.0f} at {lr:.3g}" for lr, step in reached.items())
    return (
        f"{who} has rates on both sides of {aim} at {sum(bracketed)} of {len(seeds)} seeds (medians: {medians}); add "
        "rates beyond or between them (--lr)."
    )


def _slower(slowest: float, rates: Sequence[float]) -> str:
    """Where a slower rate may be found, given the slowest that reaches the fit."""
    place = rates.index(slowest)
    return f"rates between {rates[place - 1]:.3g} and that" if place else "smaller rates"
