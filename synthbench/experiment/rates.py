"""The learning rates that an experiment would try, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from synthbench.cards import RunnerCard, StageCard
from synthbench.experiment.plan import Experiment, optimizers, rates_of, updates
from synthbench.experiment.runs import Cell


def lines(experiment: Experiment) -> dict[str, list[str]]:
    """By stage a line for each optimizer and update: its rates, by task where tasks differ in them."""
    card = experiment.card
    found: dict[str, list[str]] = {}
    before: list[tuple[str, ...]] = [()]
    for position, stage in enumerate(card.stages):
        names = dict.fromkeys(name for one in before for name in optimizers(card, position, one))
        found[stage.name] = [line for name in names for line in _of_optimizer(experiment, stage, name)]
        if stage.extend:
            found[stage.name].append(f"and up to {stage.extend} more beyond the edge of a grid, where that is chosen")
        before = [(name,) for name in names]
    return found


def _of_optimizer(experiment: Experiment, stage: StageCard, optimizer: str) -> Iterator[str]:
    tasks = [(label, task.card.name) for label, task in experiment.tasks.items()]
    every = (update for _, name in tasks for update, _ in updates(experiment.card, stage, name, optimizer))
    for update in dict.fromkeys(every):
        by_rates: dict[str, list[str]] = {}
        for label, name in tasks:
            cell = Cell(label, stage.name, (), optimizer, update, 0.0)
            by_rates.setdefault(_rates(experiment.card, stage, name, cell), []).append(label)
        parts = (f"{rates} ({', '.join(own)})" if len(by_rates) > 1 else rates for rates, own in by_rates.items())
        yield f"{optimizer}, {update}: lr {'; '.join(parts)}"


def _rates(card: RunnerCard, stage: StageCard, task: str, cell: Cell) -> str:
    variant = card.variants.get(cell.optimizer)
    if variant and variant.of_tuned and stage is card.stages[-1]:
        return f"{variant.of_tuned:g} times the one that is chosen for {variant.of}"
    return ", ".join(f"{rate:.6g}" for rate in sorted(rates_of(card, stage, task, cell)))
