"""Recall from the context: `word key value key value ... query query = answer answer .`

    get   ka mi so re ka to  so ka  =  re to .  _      so has re; ka has to, which came after mi
    get   ka mi so re ka to  la so  =  la re .  _      nothing has la, so la stands for itself

A name is as many pairs of a key and a value as have room, and the queries behind them. The answer to a query is the value
of the last pair with this key (or of the first one, `which`), and the query itself where there is none. Nothing can be
stored beforehand: the answer is in the context, and every prompt is another one. Answers are as many syllables as queries.
(Multi-query associative recall, arXiv 2312.04927; there every key that is asked for has one value.)
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
    """word: what begins a question."""

    queries: Annotated[int, Field(ge=1, le=8, strict=True)] = 2
    """Keys that are asked for."""
    which: Literal["first", "last"] = "last"
    """Of several pairs with one key, the one that counts."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if options.queries > language.name_length:
        return f"queries = {options.queries} are more than the {language.name_length} syllables of a name"
    if (language.name_length - options.queries) % 2:
        return (
            f"queries = {options.queries} leave {language.name_length - options.queries} of {language.name_length} "
            "syllables, which are no pairs"
        )
    return None


def recalled(name_NS: Ints, options: Options) -> Ints:
    """The answers to prompts, both as 0-based syllables."""
    pairs_NS, answer_NS = name_NS[:, : -options.queries], name_NS[:, -options.queries :].copy()
    query_NS, starts = answer_NS.copy(), range(0, pairs_NS.shape[1], 2)
    for start in starts if options.which == "last" else reversed(starts):  # the one that counts is put last
        key_N1, value_N1 = pairs_NS[:, start, None], pairs_NS[:, start + 1, None]
        answer_NS = np.where(query_NS == key_N1, value_N1, answer_NS)
    return answer_NS


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """The answers of each prompt in item_N (names by number); nothing is random beside the choice of prompts."""
    name_NS = language.spell(item_N)
    drawn = examples(language, options.word, name_NS, recalled(name_NS, options), item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


register(Generator("recall", "values of keys in the context", Options, draw, check))
