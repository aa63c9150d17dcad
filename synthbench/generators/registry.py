"""The registry of generators: a name, a sentence, options, and a pure function from items to examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.cards import Card
from synthbench.generators.examples import Examples, Language, Place


class Framed(Card):
    """Options of a generator: the word that frames its items. Items are distinct within a word, whatever the stage."""

    word: str = Field(min_length=1, max_length=12)


class Generator(NamedTuple):
    """draw(language, options, item_N, place, split) makes one example for each item number.

    check(language, options) returns what is wrong with them in words, or nothing. arrange(language, item_N) puts items
    that are to be trained in order: a set of N items is the first N.
    """

    name: str
    summary: str
    options: type[Framed]
    draw: Callable[[Language, Any, NDArray[np.int64], Place, str], Examples]
    check: Callable[[Language, Any], str | None] = lambda language, options: None
    arrange: Callable[[Language, NDArray[np.int64]], NDArray[np.int64]] = lambda language, item_N: item_N


GENERATORS: dict[str, Generator] = {}


def register(generator: Generator) -> None:
    """Adds a generator; raises ValueError if the name is taken."""
    if generator.name in GENERATORS:
        raise ValueError(f"A generator named {generator.name!r} is registered already.")
    GENERATORS[generator.name] = generator
