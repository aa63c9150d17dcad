"""Shipped tasks, every variant of each among them, and what is drawn from them, drawn once."""

from __future__ import annotations

from functools import cache
from typing import Any

from synthbench import cards
from synthbench.cards import SliceCard, TaskCard
from synthbench.errors import BadInput
from synthbench.generators import SPLITS, Examples, Splits, Task
from synthbench.verification.generators import Sample

NAMES = cards.names(TaskCard)
VARIANTS = [f"{name}:{variant}" for name in NAMES for variant in cards.load(TaskCard, name).variants]
TASKS = [*NAMES, *VARIANTS]
STAGES = [(label, stage) for label in TASKS for stage in cards.load(TaskCard, label).stages]
SLICES = [(label, stage, part) for label, stage in STAGES for part in cards.load(TaskCard, label).stages[stage]]


def of_generator(*generators: str) -> list[tuple[str, str, str]]:
    """(task, stage, slice) of every slice that one of these generators draws."""
    return [where for where in SLICES if card_of(*where).generator in generators]


def with_unseen() -> list[tuple[str, str, str]]:
    """(task, stage, slice) of every slice that holds parts out."""
    return [where for where in SLICES if card_of(*where).options.get("unseen")]


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


def under_the_same_word(label: str, stage: str, part: str) -> list[tuple[str, str, str]]:
    """Every slice whose items live under the word of this one, itself included."""
    word = option(label, stage, part, "word")
    return [where for where in SLICES if where[0] == label and option(*where, "word") == word]


def other_size(label: str, stage: str, part: str) -> int:
    """A number of items that the slice may have too: fewer where it may, else more."""
    items = card_of(label, stage, part).items
    for other in (items // 3, items // 5, items * 2):
        try:
            task(label).check_sizes(stage, {part: other})
        except BadInput:
            continue
        return other
    raise AssertionError(f"{label} {stage} {part} can have no size but {items}")
