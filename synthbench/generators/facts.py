"""Random facts: `relation subject = object .`

    owns  ka mi to  =  re so ne  .

Objects are drawn uniformly and independently of their subjects, so an answer's entropy is that of a name and nothing
but the fact itself helps to answer.

Under `groups` = G facts are seen unequally often, by a binned Zipf law of exponent 1 (the frequencies of arXiv
2509.26030): each group has twice as many facts as the one before, each of them seen half as often, so that all groups
take equal shares of what is trained. The first half of the groups is the head, the last group the tail.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import BUCKETS, Examples, Language, Place, examples, stream
from synthbench.generators.registry import Framed, Generator, register


class Options(Framed):
    """word: the relation."""

    groups: Annotated[int, Field(ge=1, le=10, strict=True)] = 1
    """Groups of frequency; 1: all facts are shown equally often."""


def cycle(groups: int) -> NDArray[np.int64]:
    """The groups of 2**groups - 1 facts in a row: of group g there are 2**g, spread out."""
    return np.sort(
        np.concatenate([[(i + 0.5) / 2**g + 1j * g for i in range(2**g)] for g in range(groups)])
    ).imag.astype(np.int64)


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with so many items, or nothing."""
    whole = 2**options.groups - 1
    if items % whole:
        return f"items = {items} must be a multiple of {whole} for {options.groups} groups"
    return None


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """One fact about each subject in item_N (names by number)."""
    object_N = stream(place, split, "objects").integers(language.names, size=len(item_N))
    drawn = examples(language, options.word, language.spell(item_N), language.spell(object_N), item_N, "fact")
    if options.groups == 1 or split != "train":
        return drawn
    group_N = np.resize(cycle(options.groups), len(item_N))
    head = options.groups // 2
    buckets = [BUCKETS.index(name) for name in ("head",) * head + ("middle",) * (options.groups - head - 1) + ("tail",)]
    return replace(
        drawn,
        bucket_N=np.array(buckets, dtype=np.int8)[group_N],
        repeats_N=(2 ** (options.groups - 1 - group_N)).astype(np.int16),
    )


register(Generator("facts", "random facts: a subject's object is drawn uniformly", Options, draw, check))
