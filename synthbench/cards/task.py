"""A task's card: which generators make the pretraining language and the finetuning data."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from synthbench.cards.base import Card, Name, Positive, Prose, Version

MOST_NAMES = 2**20  # of a language: they are shuffled in memory for every slice
MOST_ITEMS = 2**17  # of a task, held-out ones included
GENERATOR = r"[a-z0-9][a-z0-9_-]{0,39}|[^:]+:[A-Za-z_][A-Za-z0-9_]{0,99}"


def _generator(text: str) -> str:
    if not re.fullmatch(GENERATOR, text):
        raise ValueError("allowed are a generator's name, path/file.py:name and pkg.mod:name")
    return text


class SliceCard(BaseModel):
    """One slice of a stage's data; keys beside its own are the generator's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    generator: Annotated[str, Field(max_length=4096), AfterValidator(_generator)]
    """What draws the items: a name, path/file.py:name (from this card's folder) or pkg.mod:name."""
    items: Positive
    """Trained items."""
    share: Positive
    """Share of every batch, relative to the stage's other slices."""
    note: Prose = ""
    """Why lengths or exposures differ from the other slices', where they do."""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LanguageCard(Card):
    """The synthetic language that names are made of."""

    syllables: Annotated[int, Field(ge=2, le=1024, strict=True)]
    """Distinct syllables."""
    name_length: Annotated[int, Field(ge=1, le=8, strict=True)]
    """Syllables in a subject, object, stem or form."""
    words: Annotated[list[Annotated[str, Field(min_length=1, max_length=12)]], Field(max_length=64)] = []
    """The words that begin items, in the order of their ids; none: those of the slices. Tasks of a family name the same."""

    @model_validator(mode="after")
    def _countable(self) -> LanguageCard:
        if self.syllables**self.name_length > MOST_NAMES:
            raise ValueError("syllables ** name_length may be at most 2**20, so that names can be shuffled in memory")
        return self


class HeldOutCard(Card):
    """Items that are not trained."""

    validation: Positive
    """Items a slice for choosing learning rates."""
    test: Positive
    """Items a slice for scores."""


Slices = Annotated[dict[Literal["fact", "rule", "exception", "noise"], SliceCard], Field(min_length=1)]


class TaskCard(Card):
    """A task: which generators make its data, stage by stage."""

    name: Name
    version: Version
    question: Prose
    """What the task tells apart."""
    description: Prose
    """How, in a paragraph."""
    source: Prose
    """Where the question comes from."""
    language: LanguageCard
    held_out: HeldOutCard
    stages: dict[Name, Slices] = Field(min_length=1, max_length=8)
    family: Name | None = None
    """Tasks of one family draw the same data in all stages but the last."""
    variants: Annotated[dict[Name, dict[str, Any]], Field(max_length=32)] = {}
    """`--task NAME:VARIANT`: values by path."""
    variant: Name | None = None
    """Which of them this is, once it is chosen."""

    @property
    def origin(self) -> str:
        """Under which name data is drawn: the family's where there is one."""
        return self.family or self.name

    @property
    def label(self) -> str:
        """How the task is named in experiments and tables."""
        return f"{self.name}:{self.variant}" if self.variant else self.name

    @model_validator(mode="after")
    def _drawable(self) -> TaskCard:
        parts = [part for slices in self.stages.values() for part in slices.values()]
        items = sum(part.items for part in parts) + len(parts) * (self.held_out.validation + self.held_out.test)
        if items > MOST_ITEMS:
            raise ValueError(f"its slices have {items} items, held-out ones included; at most {MOST_ITEMS} are allowed")
        names = len(parts) * self.language.syllables**self.language.name_length
        if names > 4 * MOST_NAMES:
            raise ValueError(
                f"its slices are drawn out of {names} names together; at most {4 * MOST_NAMES} are allowed"
            )
        return self

    def size(self, stage: str) -> dict[str, int]:
        """Trained items of each slice of a stage."""
        return {name: part.items for name, part in self.stages[stage].items()}
