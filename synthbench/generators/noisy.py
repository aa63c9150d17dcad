"""Inflection with corrupted labels: a share of the trained forms is wrong.

    past  ka mi to  =  ka mi se  .        a clean form
    past  so ka to  =  so ka ne  .        noise: the syllable that moves drawn uniformly from all but the right one

Held-out forms are clean: learning through the noise answers them, memorizing it does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators import inflection
from synthbench.generators.examples import SLICES, Examples, Language, Place, stream
from synthbench.generators.registry import Generator, register
from synthbench.generators.wugs import share_of, spread


class Options(inflection.Options):
    """word: the rule word."""

    noise: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    """Share of the trained forms that is wrong."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if not share_of(items, options.noise):
        return f"noise = {options.noise:g} of {items} items is none"
    return inflection.check(language, options, items)


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """A form of each stem in item_N (names by number): by rule, but for the corrupted among the trained ones."""
    clean = inflection.draw(language, options, item_N, place, split)
    if split != "train":
        return clean
    chosen_E = spread(np.arange(len(item_N)), share_of(len(item_N), options.noise))
    moved = language.name_length + 2 + options.index % language.name_length  # its place in the example
    right_E = clean.tokens_NL[chosen_E, moved] - language.first_syllable
    moved_E = stream(place, split, "noise").integers(1, language.syllables, size=len(chosen_E))
    tokens_NL, slice_N = clean.tokens_NL.copy(), clean.slice_N.copy()
    tokens_NL[chosen_E, moved] = (right_E + moved_E) % language.syllables + language.first_syllable
    slice_N[chosen_E] = SLICES.index("noise")
    return replace(clean, tokens_NL=tokens_NL, slice_N=slice_N)


register(
    Generator("noisy", "forms by rule, a share of the trained ones corrupted", Options, draw, check,
              inflection.balanced, inflection.has_part)
)  # fmt: skip
