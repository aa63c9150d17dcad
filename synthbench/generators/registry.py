"""The registry of generators: a name, a sentence, options, and a pure function from items to examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.cards import Card
from synthbench.generators.examples import Examples, Language, Place


class Framed(Card):
    """Options of a generator: the word that frames its items. Items are distinct within a word, whatever the stage."""

    word: str = Field(min_length=1, max_length=12)
    """The word that begins each item."""
    unseen: Annotated[int, Field(ge=0, le=1024, strict=True)] = 0
    """Syllables that are held out as parts of trained items."""


Numbers = NDArray[np.int64]


class Generator(NamedTuple):
    """draw(language, options, item_N, place, split) makes one example for each item number.

    check(language, options, items) returns what is wrong with them in words, or nothing.
    arrange(language, options, item_N) puts items that are to be trained in order: a set of N items is the first N.
    is_unseen(language, options, item_N, part_U) says which items have one of these syllables as a part that the rule turns
    on; None where nothing can be held out so.
    plugin: of one that is not built in, what is known of its code.
    """

    name: str
    summary: str
    options: type[Framed]
    draw: Callable[[Language, Any, Numbers, Place, str], Examples]
    check: Callable[[Language, Any, int], str | None] = lambda language, options, items: None
    arrange: Callable[[Language, Any, Numbers], Numbers] = lambda language, options, item_N: item_N
    is_unseen: Callable[[Language, Any, Numbers, Numbers], NDArray[np.bool_]] | None = None
    plugin: Any = None


GENERATORS: dict[str, Generator] = {}


def register(generator: Generator) -> None:
    """Adds a generator; raises ValueError if the name is taken."""
    if generator.name in GENERATORS:
        raise ValueError(f"A generator named {generator.name!r} is registered already.")
    GENERATORS[generator.name] = generator
