"""A small language and a small task for every generator that is registered: a new generator needs an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.generators import GENERATORS, Examples, Language, Place, Task

LANGUAGE = Language(("w",), 5, 2)  # 25 names; 5 is a prime, so that every sum is equally likely
# options under which every answer is equally likely where the item is not known
OPTIONS: dict[str, dict[str, Any]] = {
    "facts": {},
    "inflection": {"shifts": [2]},
    "modular": {"factors": [1, 3], "constant": 1},
    "noisy": {"shifts": [2], "noise": 0.25},
    "wugs": {"shifts": [2], "exceptions": 0.25},
}
HAVE_PARTS = [name for name, generator in GENERATORS.items() if generator.is_unseen]


def drawn(generator: str, item_N: Any, place: Place, split: str = "train") -> Examples:
    """Examples of these items in the small language."""
    found = GENERATORS[generator]
    return found.draw(LANGUAGE, found.options(word="w", **OPTIONS[generator]), item_N, place, split)


def answers(examples: Examples) -> NDArray[np.int32]:
    """Answers without their end, as 0-based syllables: shape (N, S)."""
    start, stop = int(examples.answer_NL[0].argmax()), int(examples.answer_NL[0].sum())
    return examples.tokens_NL[:, start : start + stop - 1]


def card(generator: str, options: Mapping[str, Any] | None = None, **others: Any) -> TaskCard:
    """A task of one slice: 13 names in a language of 7 * 7."""
    part = {"generator": generator, "word": "w", "items": 16, "share": 1} | OPTIONS[generator] | dict(options or {})
    content = {
        "name": "small", "version": "1.0", "question": "?", "description": "?", "source": "?",
        "language": {"syllables": 7, "name_length": 2}, "held_out": {"validation": 4, "test": 6},
        "stages": {"only": {"rule": part}},
    }  # fmt: skip
    return cards.parse(TaskCard, content | others, "small.toml")


def task(generator: str, options: Mapping[str, Any] | None = None, **others: Any) -> Task:
    return Task(card(generator, options, **others))
