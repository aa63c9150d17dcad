"""Shipped tasks and what is drawn from them, drawn once."""

from __future__ import annotations

from functools import cache

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.generators import SPLITS, Examples, Splits, Task

TASKS = cards.names(TaskCard)
STAGES = [(name, stage) for name in TASKS for stage in cards.load(TaskCard, name).stages]
SLICES = [(name, stage, part) for name, stage in STAGES for part in cards.load(TaskCard, name).stages[stage]]


def of_generator(generator: str) -> list[tuple[str, str, str]]:
    """(task, stage, slice) of every slice that a generator draws."""
    found = [(where, cards.load(TaskCard, where[0]).stages[where[1]][where[2]]) for where in SLICES]
    return [where for where, part in found if part.generator == generator]


@cache
def task(name: str) -> Task:
    return Task(cards.load(TaskCard, name))


@cache
def drawn(name: str, stage: str, seed: int = 0) -> dict[str, Splits]:
    return task(name).draw(stage, seed)


def splits_of(name: str, seed: int = 0) -> dict[tuple[str, str, str], Examples]:
    """Every (stage, slice, split) of a task."""
    return {
        (stage, part, split): examples
        for stage in task(name).card.stages
        for part, splits in drawn(name, stage, seed).items()
        for split, examples in zip(SPLITS, splits, strict=True)
    }
