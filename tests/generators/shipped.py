"""Shipped tasks and their variants, and their data, drawn once."""

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
SLICES = [
    (label, stage, slice_name) for label, stage in STAGES for slice_name in cards.load(TaskCard, label).stages[stage]
]


def slices_of_generators(*generators: str) -> list[tuple[str, str, str]]:
    """The (task, stage, slice) of every slice of these generators."""
    return [address for address in SLICES if slice_card(*address).generator in generators]


@cache
def task(label: str) -> Task:
    return Task(cards.load(TaskCard, label))


@cache
def sample(label: str) -> Sample:
    return Sample(task(label))


def slice_card(label: str, stage: str, slice_name: str) -> SliceCard:
    return task(label).card.stages[stage][slice_name]  # type: ignore[index]


def moving(label: str, stage: str, slice_name: str) -> int:
    """The place in a stem of the syllable that a slice's rule moves: the first or the last."""
    return 0 if slice_card(label, stage, slice_name).options.get("moves") == "first" else -1


def option(label: str, stage: str, slice_name: str, name: str) -> Any:
    return slice_card(label, stage, slice_name).options[name]


@cache
def draw(label: str, stage: str, seed: int = 0) -> dict[str, Splits]:
    return task(label).draw(stage, seed)


def splits_of(label: str, seed: int = 0) -> dict[tuple[str, str, str], Examples]:
    """The examples of a task by (stage, slice, split), without empty splits."""
    return {
        (stage, slice_name, split): examples
        for stage in task(label).card.stages
        for slice_name, splits in draw(label, stage, seed).items()
        for split, examples in zip(SPLITS, splits, strict=True)
        if len(examples)
    }
