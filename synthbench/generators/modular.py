"""Modular arithmetic: `op a b = c .`, c = x a + y b + z modulo the number of syllables.

    plus  ka mi  =  so  .  _

Operands and results are single syllables, so names must have two of them; all pairs of operands are items. Trained pairs
show each operand in each place, from twice as many pairs as operands on. Under `unseen` = U, no trained pair has one of U
operands. (arXiv 2504.16041 times the step from fit to rule on such tasks.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import Examples, Language, Place, examples
from synthbench.generators.registry import Framed, Generator, register

Integer = Annotated[int, Field(ge=0, le=10**6, strict=True)]


class Options(Framed):
    """word: the operator."""

    factors: tuple[Integer, Integer] = (1, 1)
    """Factors of the operands."""
    constant: Integer = 0
    """What is added to their sum."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if language.name_length != 2:
        return f"name_length = {language.name_length} must be 2, for the two operands"
    if not all(factor % language.syllables for factor in options.factors):
        return f"factors = {list(options.factors)} leave an operand without effect modulo {language.syllables}"
    return None


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """The result of each pair in item_N (names by number)."""
    pair_N2 = language.spell(item_N)
    result_N1 = ((pair_N2 @ np.array(options.factors) + options.constant) % language.syllables)[:, None].astype(
        np.int32
    )
    drawn = examples(language, options.word, pair_N2, result_N1, item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


def has_operand(
    language: Language, options: Options, item_N: NDArray[np.int64], part_U: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pairs have one of these operands."""
    first_N, second_N = language.spell(item_N).T
    return np.isin(first_N, part_U) | np.isin(second_N, part_U)


def covering(language: Language, options: Options, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs in order, but first those that are the first to show an operand in its place."""
    is_first_N = np.zeros(len(item_N), dtype=bool)
    for operand_N in language.spell(item_N).T:
        is_first_N[np.unique(operand_N, return_index=True)[1]] = True
    return np.concatenate([item_N[is_first_N], item_N[~is_first_N]])


register(Generator("modular", "arithmetic modulo the number of syllables", Options, draw, check, covering, has_operand))
