"""Inflection by rule: `rule-word stem = form .`

    past  ka mi to  =  ka mi se  .        the stem, its last syllable moved on by a shift that its class decides

The syllables fall into as many classes of neighbours as there are shifts; the class of the stem's last syllable
decides how far that syllable moves (modulo the number of syllables). Trained stems end in every syllable equally often,
so held-out stems are new combinations of which training has shown all that the rule changes: the rule alone answers
them. Under `unseen` = U, no trained stem ends in U of the syllables: stems that do show whether the rule reaches what it
was never shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import Examples, Ints, Language, Place, examples
from synthbench.generators.registry import Framed, Generator, register


class Options(Framed):
    """word: the rule word."""

    shifts: Annotated[list[Annotated[int, Field(gt=0, strict=True)]], Field(min_length=1)]
    """How far the last syllable moves, one for each class."""


def classes(stem_NS: Ints, count: int, syllables: int) -> NDArray[np.int64]:
    """The class of each stem, from its last syllable."""
    return (stem_NS[:, -1] * count // syllables).astype(np.int64)


def inflect(stem_NS: Ints, shifts: list[int], syllables: int) -> Ints:
    """Forms of stems, both as 0-based syllables."""
    form_NS = stem_NS.copy()
    shift_N = np.asarray(shifts, dtype=np.int32)[classes(stem_NS, len(shifts), syllables)]
    form_NS[:, -1] = (stem_NS[:, -1] + shift_N) % syllables
    return form_NS


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if len(options.shifts) > language.syllables:
        return f"shifts has {len(options.shifts)} classes, more than the {language.syllables} syllables"
    if any(shift >= language.syllables for shift in options.shifts):
        return f"shifts must lie between 1 and {language.syllables - 1}, one less than the number of syllables"
    return None


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """The form of each stem in item_N (names by number); nothing is random beside the choice of stems."""
    stem_NS = language.spell(item_N)
    form_NS = inflect(stem_NS, options.shifts, language.syllables)
    drawn = examples(language, options.word, stem_NS, form_NS, item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


def ends_in(language: Language, item_N: NDArray[np.int64], part_U: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which names end in one of these syllables."""
    return np.isin(item_N % language.syllables, part_U)


def balanced(language: Language, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Items in rounds: each round has one item for every last syllable, as long as there are any; else in order."""
    last_N = item_N % language.syllables
    by_last_N = np.argsort(last_N, kind="stable")
    first_N = np.searchsorted(last_N[by_last_N], last_N[by_last_N])
    round_N = np.empty_like(item_N)
    round_N[by_last_N] = np.arange(len(item_N)) - first_N
    return item_N[np.argsort(round_N, kind="stable")]


register(
    Generator("inflection", "forms that follow from their stems by a rule with classes", Options, draw, check,
              balanced, ends_in)
)  # fmt: skip
