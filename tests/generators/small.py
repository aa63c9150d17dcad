"""A small language and a small task for each registered generator; a new generator needs an entry in OPTIONS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench import cards
from synthbench.cards import SliceCard, TaskCard
from synthbench.generators import GENERATORS, Examples, Language, Place, Task

LANGUAGE = Language(("w",), 5, 2)  # 25 names; 5 is prime: all sums are equally likely
# options that make all answers equally likely for an unknown item
OPTIONS: dict[str, dict[str, Any]] = {
    "automaton": {"concentration": 1e6},
    "biographies": {},
    "facts": {},
    "hops": {"hops": 1},
    "inflection": {"shifts": [2]},
    "modular": {"factors": [1, 3], "constant": 1},
    "noisy": {"shifts": [2], "noise": 0.25},
    "recall": {},  # of names with two syllables: two queries, and no pairs
    "routing": {"classes": 5},
    "wugs": {"shifts": [2], "exceptions": 0.25},
}
HAVE_PARTS = [name for name, generator in GENERATORS.items() if generator.is_unseen]


def draw(generator: str, item_N: Any, place: Place, split: str = "train") -> Examples:
    """Examples of these items in the small language."""
    definition = GENERATORS[generator]
    return definition.draw(LANGUAGE, definition.options(word="w", **OPTIONS[generator]), item_N, place, split)


def on(language: Language, part: SliceCard, item_N: Any) -> Examples:
    """What the generator of a slice makes of these items, held out."""
    definition = GENERATORS[part.generator]
    return definition.draw(language, definition.options(**part.options), item_N, Place(9, "t", "s", "rule"), "test")


def answer_syllables(examples: Examples, column: str = "tokens_NL") -> NDArray[np.int32]:
    """Answers without their end, or those of the rule (`rule_answer_NL`), as tokens: shape (N, S)."""
    start, stop = int(examples.answer_NL[0].argmax()), int(examples.answer_NL[0].sum())
    answers_NL: NDArray[np.int32] = getattr(examples, column)
    return answers_NL[:, start : start + stop - 1]


def card(generator: str, options: Mapping[str, Any] | None = None, **changes: Any) -> TaskCard:
    """A task of one slice: 13 names in a language of 7 * 7."""
    common = {"generator": generator, "word": "w", "items": 16, "share": 1}
    slice_options = common | OPTIONS[generator] | dict(options or {})
    content = {
        "name": "small", "version": "1.0", "question": "?", "description": "?", "source": "?",
        "language": {"syllables": 7, "name_length": 2}, "held_out": {"validation": 4, "test": 6},
        "stages": {"only": {"rule": slice_options}},
    }  # fmt: skip
    return cards.parse(TaskCard, content | changes, "small.toml")


def task(generator: str, options: Mapping[str, Any] | None = None, **changes: Any) -> Task:
    return Task(card(generator, options, **changes))
