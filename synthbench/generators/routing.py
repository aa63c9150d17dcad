"""Routing by hidden classes: `word left right = answer .`

    from  ka mi  =  so .  _          ka and mi each belong to a class; the two classes decide the answer

Every syllable has a class as the left one and another as the right one, drawn at random; there are as many classes as
answers, and of each class as many syllables as of every other, or one more. A table of classes by classes has the answers,
each once in every row. So all pairs share one map of as low a rank as there are classes, which answers pairs that were
never shown; who stores each pair on its own answers none of these. Classes and answers are other ones at another seed.
Syllables of a name beyond the second mean nothing. (After the linear routing task of arXiv 2603.00742, where SGD finds the
shared map and Muon stores pairs.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators import modular
from synthbench.generators.examples import Examples, Language, Place, examples, stream
from synthbench.generators.registry import Framed, Generator, register

Integers = NDArray[np.int64]


class Options(Framed):
    """word: what begins a pair."""

    classes: Annotated[int, Field(ge=2, le=1024, strict=True)] = 4
    """Classes of left and of right syllables: the rank of the map."""


class World(NamedTuple):
    """left_S, right_S: the class of each syllable in its place. answer_CC: the answer's syllable by both classes."""

    left_S: Integers
    right_S: Integers
    answer_CC: Integers


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if language.name_length < 2:
        return f"name_length = {language.name_length} must be at least 2, for a pair"
    if options.classes > language.syllables:
        return f"classes = {options.classes} are more than the {language.syllables} syllables"
    return None


def world(language: Language, options: Options, place: Place) -> World:
    """Classes and answers of a seed, the same in every stage and split."""
    drawn = stream(Place(place.seed, place.task, "", ""), "", f"classes under {options.word}")
    count, syllables = options.classes, language.syllables
    left_S, right_S = (drawn.permutation(np.arange(syllables) % count) for _ in range(2))
    answer_C = drawn.permutation(syllables)[:count]
    return World(left_S, right_S, answer_C[drawn.permuted(np.tile(np.arange(count), (count, 1)), axis=1)])


def draw(language: Language, options: Options, item_N: Integers, place: Place, split: str) -> Examples:
    """The answer of each pair in item_N (names by number)."""
    name_NS, of = language.spell(item_N), world(language, options, place)
    answer_N = of.answer_CC[of.left_S[name_NS[:, 0]], of.right_S[name_NS[:, 1]]]
    drawn = examples(language, options.word, name_NS, answer_N[:, None].astype(np.int32), item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


register(
    Generator("routing", "a shared map of low rank behind pairs of syllables", Options, draw, check, modular.covering)
)
