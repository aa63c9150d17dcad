"""Shipped tasks, every variant of each among them, and what is drawn from them, drawn once."""

from __future__ import annotations

from functools import cache
from typing import Any

from synthbench import cards
from synthbench.cards import SliceCard, TaskCard
from synthbench.generators import SPLITS, Examples, Splits, Task
from synthbench.generators.contract import Sample

NAMES = cards.names(TaskCard)
VARIANTS = [f"{name}:{variant}" for name in NAMES for variant in cards.load(TaskCard, name).variants]
TASKS = [*NAMES, *VARIANTS]
STAGES = [(label, stage) for label in TASKS for stage in cards.load(TaskCard, label).stages]
SLICES = [(label, stage, part) for label, stage in STAGES for part in cards.load(TaskCard, label).stages[stage]]


def of_generator(*generators: str) -> list[tuple[str, str, str]]:
    """(task, stage, slice) of every slice that one of these generators draws."""
    return [where for where in SLICES if card_of(*where).generator in generators]


@cache
def task(label: str) -> Task:
    return Task(cards.load(TaskCard, label))


@cache
def sample(label: str) -> Sample:
    return Sample(task(label))


def card_of(label: str, stage: str, part: str) -> SliceCard:
    return task(label).card.stages[stage][part]  # type: ignore[index]


def option(label: str, stage: str, part: str, name: str) -> Any:
    return card_of(label, stage, part).options[name]


@cache
def drawn(label: str, stage: str, seed: int = 0) -> dict[str, Splits]:
    return task(label).draw(stage, seed)


def splits_of(label: str, seed: int = 0) -> dict[tuple[str, str, str], Examples]:
    """Every (stage, slice, split) of a task that has examples."""
    return {
        (stage, part, split): examples
        for stage in task(label).card.stages
        for part, splits in drawn(label, stage, seed).items()
        for split, examples in zip(SPLITS, splits, strict=True)
        if len(examples)
    }
