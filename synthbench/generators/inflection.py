"""Inflection by rule: `rule-word stem = form .`

    past  ka mi to  =  ka mi se  .        the stem, its last syllable moved on by a shift that its class decides
    will  ka mi to  =  no mi to  .        the same of the first syllable (`moves`)

The syllables fall into as many classes of neighbours as there are shifts; the class of the syllable that moves decides how
far (modulo the number of syllables). Trained stems have every syllable there equally often, and show every syllable in
every other place before long, so held-out stems are new combinations of which training has shown all parts: the rule alone
answers them. Under `unseen` = U, no trained stem has U of the syllables where it moves them: stems that do show whether the
rule reaches what it was never shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import Examples, Ints, Language, Place, examples
from synthbench.generators.registry import Framed, Generator, register


class Options(Framed):
    """word: the rule word."""

    shifts: Annotated[list[Annotated[int, Field(gt=0, strict=True)]], Field(min_length=1)]
    """How far the syllable moves, one for each class."""
    moves: Literal["first", "last"] = "last"
    """Which syllable of the stem moves."""

    @property
    def index(self) -> int:
        """The place in a stem of the syllable that moves."""
        return 0 if self.moves == "first" else -1


def classes(syllable_N: Ints, count: int, syllables: int) -> NDArray[np.int64]:
    """The class of each syllable that moves."""
    return (syllable_N * count // syllables).astype(np.int64)


def inflect(stem_NS: Ints, options: Options, syllables: int) -> Ints:
    """Forms of stems, both as 0-based syllables."""
    form_NS, moving_N = stem_NS.copy(), stem_NS[:, options.index]
    shift_N = np.asarray(options.shifts, dtype=np.int32)[classes(moving_N, len(options.shifts), syllables)]
    form_NS[:, options.index] = (moving_N + shift_N) % syllables
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
    form_NS = inflect(stem_NS, options, language.syllables)
    drawn = examples(language, options.word, stem_NS, form_NS, item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


def moving(language: Language, options: Options, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The syllable of each name that the rule moves."""
    last = options.moves == "last"
    return item_N % language.syllables if last else item_N // language.syllables ** (language.name_length - 1)


def has_part(
    language: Language, options: Options, item_N: NDArray[np.int64], part_U: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which names have one of these syllables where the rule moves it."""
    return np.isin(moving(language, options, item_N), part_U)


def balanced(language: Language, options: Options, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Items in rounds: each round has one item for every syllable that moves, as long as there are any.

    The first rounds, mostly two, choose items that are the first to show a syllable in its place, so that few items show
    every syllable in every place. Else items are in order.
    """
    chosen_M = _covering(language, options, item_N)
    item_N = np.concatenate([item_N[chosen_M], np.delete(item_N, chosen_M)])
    moving_N = moving(language, options, item_N)
    sorted_N = np.argsort(moving_N, kind="stable")
    first_N = np.searchsorted(moving_N[sorted_N], moving_N[sorted_N])
    round_N = np.empty_like(item_N)
    round_N[sorted_N] = np.arange(len(item_N)) - first_N
    return item_N[np.argsort(round_N, kind="stable")]


def _covering(language: Language, options: Options, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places in item_N of items for whole rounds that show every syllable that there is in every place."""
    stem_NS, place_S = language.spell(item_N), np.arange(language.name_length)
    moving_N = moving(language, options, item_N)
    left = {syllable: np.flatnonzero(moving_N == syllable) for syllable in dict.fromkeys(moving_N.tolist())}
    is_new_SV = np.zeros((language.name_length, language.syllables), dtype=bool)
    is_new_SV[place_S, stem_NS] = True
    chosen: list[int] = []
    while is_new_SV.any():
        for syllable, index_M in left.items():
            if len(index_M):
                best = int(is_new_SV[place_S, stem_NS[index_M]].sum(1).argmax())
                is_new_SV[place_S, stem_NS[index_M[best]]] = False
                chosen.append(int(index_M[best]))
                left[syllable] = np.delete(index_M, best)
    return np.array(chosen, dtype=np.int64)


register(
    Generator("inflection", "forms that follow from their stems by a rule with classes", Options, draw, check,
              balanced, has_part)
)  # fmt: skip
