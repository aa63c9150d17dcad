"""Irregular verbs: forms by rule, and inside one class of stems forms that follow no rule.

    past  ka mi to  =  ka mi se  .        a regular form
    past  so ka to  =  re so ne  .        an exception: a name drawn uniformly from all but the regular form

Exceptions are a share of all trained verbs, all of them within the first class, where regular verbs stay the majority or
not as the share has it; they may be seen more often than regular verbs (`repeats`), as irregular verbs of real languages
are. Held-out verbs are regular.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators import inflection
from synthbench.generators.examples import SLICES, Examples, Language, Place, examples, stream
from synthbench.generators.registry import Generator, register


class Options(inflection.Options):
    """word: the rule word."""

    exceptions: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    """Share of the trained verbs that are exceptions."""
    repeats: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    """How often an exception is shown while another verb is shown once."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if not share_of(items, options.exceptions):
        return f"exceptions = {options.exceptions:g} of {items} items are none"
    if wrong := inflection.check(language, options, items):
        return wrong
    most = 0.75 * in_first_class(language, options, items)
    if share_of(items, options.exceptions) > most:
        return (
            f"exceptions = {options.exceptions:g} of {items} items may leave less than a quarter of their class regular; "
            f"allow at most {int(most)} exceptions"
        )
    return None


def in_first_class(language: Language, options: Options, items: int) -> int:
    """How many of so many trained verbs are in the first class at least, whichever syllables are held out."""
    first = -(-language.syllables // len(options.shifts))
    rounds, rest = divmod(items, language.syllables - options.unseen)
    return rounds * max(first - options.unseen, 0) + max(rest - (language.syllables - first), 0)


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """A form of each stem in item_N (names by number): by rule, but for the exceptions among the trained ones."""
    regular = inflection.draw(language, options, item_N, place, split)
    if split != "train":
        return regular
    stem_NS = language.spell(item_N)
    first_M = np.flatnonzero(
        inflection.classes(stem_NS[:, options.index], len(options.shifts), language.syllables) == 0
    )
    chosen_E = spread(first_M, share_of(len(item_N), options.exceptions))
    form_E = replaced(language, inflection.inflect(stem_NS, options, language.syllables)[chosen_E], place)
    irregular = examples(language, options.word, stem_NS[chosen_E], form_E, item_N[chosen_E], "exception")
    tokens_NL, slice_N, repeats_N = regular.tokens_NL.copy(), regular.slice_N.copy(), regular.repeats_N.copy()
    tokens_NL[chosen_E] = irregular.tokens_NL
    slice_N[chosen_E] = SLICES.index("exception")
    repeats_N[chosen_E] = options.repeats
    return replace(regular, tokens_NL=tokens_NL, slice_N=slice_N, repeats_N=repeats_N)


def spread(place_M: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of these places, evenly spread."""
    return place_M[np.arange(count) * len(place_M) // count]


def share_of(items: int, share: float) -> int:
    """How many items a share is, rounded down."""
    return int(items * share + 1e-9)


def replaced(language: Language, form_ES: NDArray[np.int32], place: Place) -> NDArray[np.int32]:
    """For each form another one, drawn uniformly from all names but it."""
    powers = language.syllables ** np.arange(language.name_length)[::-1]
    other_E = stream(place, "train", "exceptions").integers(1, language.names, size=len(form_ES))
    return language.spell((form_ES @ powers + other_E) % language.names)


register(
    Generator("wugs", "forms by rule, with exceptions inside one class of stems", Options, draw, check,
              inflection.balanced, inflection.has_part)
)  # fmt: skip
