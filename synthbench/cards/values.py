"""Kinds of values in a runner's card: names of optimizers and tasks, of scores, of updates."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from synthbench.cards.spelling import score_name


def _update(text: str) -> str:
    rank = re.fullmatch(r"lora-([1-9][0-9]{0,5})", text)
    if text not in ("full", "full-hidden") and not rank:
        raise ValueError("allowed are full, full-hidden and lora-R with a rank R of at least 1")
    return text


def unique(values: list[Any]) -> list[Any]:
    """A list without repetitions; raises ValueError for another."""
    if len(set(values)) < len(values):
        raise ValueError("has the same entry twice")
    return values


Update = Annotated[str, AfterValidator(_update)]
Several = Annotated[
    list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=128), AfterValidator(unique)
]
ScoreName = Annotated[str, Field(max_length=4096), AfterValidator(score_name)]
Optimizer = Annotated[str, Field(max_length=4096)]
