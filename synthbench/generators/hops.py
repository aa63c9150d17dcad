"""Relations and their compositions: `word entity relation ... = entity .`

    is    ka mi to  =  so .  _ _          one hop: what mi of ka is; to means nothing
    then  ka mi to  =  so re .  _         two hops: what mi of ka is, and what to of that is
    then  ka mi to  =  re .  _ _          the same without the entity on the way (`silent`)
    back  ka mi to  =  na lu .  _         two hops, `reverse`: what to of ka is, and what mi of that is

Every relation is a random permutation of the entities, so each hop's answer is uniform. Entities and relations are the
syllables: the first of a name is the entity, the next ones are the relations, and those beyond the last hop mean nothing,
as the words around a fact do. The permutations are the task's, the same at every seed, as the shifts of an inflection are;
seeds decide which items are trained.

Trained items show every entity under every relation of the first hop before long. Under `unseen` = U, no trained item
begins with one of U entities: compositions about these are out of distribution, though their single hops may be known from
another word. (After arXiv 2405.15071, which composes stored facts in and out of distribution.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import Examples, Language, Place, examples, stream
from synthbench.generators.registry import Framed, Generator, register


class Options(Framed):
    """word: what begins a question of this many hops."""

    hops: Annotated[int, Field(ge=1, le=7, strict=True)] = 2
    """Relations that are followed one after the other."""
    reverse: bool = False
    """Whether the relations are followed from the last to the first."""
    silent: bool = False
    """Whether the answer is the last entity alone, without those on the way: as a rule, small models do not find that."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with these options in this language, or nothing."""
    if options.hops >= language.name_length:
        room = f"name_length = {language.name_length}, for the entity and a relation a hop"
        return f"hops = {options.hops} must be less than {room}"
    return None


def relations(language: Language, task: str) -> NDArray[np.int64]:
    """What each relation makes of each entity, shape (relations, entities): a permutation each, the task's own."""
    table = np.tile(np.arange(language.syllables), (language.syllables, 1))
    return stream(Place(0, task, "", ""), "", "relations").permuted(table, axis=1)


def follow(language: Language, options: Options, item_N: NDArray[np.int64], task: str) -> NDArray[np.int32]:
    """The entities that each name (by number) leads to, hop by hop: shape (N, hops), or (N, 1) where it is silent."""
    name_NS, table = language.spell(item_N), relations(language, task)
    entity_N, followed, passed = name_NS[:, 0].astype(np.int64), range(1, options.hops + 1), []
    for place in reversed(followed) if options.reverse else followed:
        entity_N = table[name_NS[:, place], entity_N]
        passed.append(entity_N)
    return np.stack(passed[-1:] if options.silent else passed, axis=1).astype(np.int32)


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """The answer of each item (names by number). One hop is a fact, which no rule answers; more are a rule on facts."""
    kind = "fact" if place.slice == "fact" else "rule"
    drawn = examples(
        language, options.word, language.spell(item_N), follow(language, options, item_N, place.task), item_N, kind
    )
    return replace(drawn, rule_answer_NL=drawn.tokens_NL) if kind == "rule" else drawn


def begins_with(
    language: Language, options: Options, item_N: NDArray[np.int64], part_U: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which names begin with one of these entities."""
    return np.isin(item_N // language.syllables ** (language.name_length - 1), part_U)


def covering(language: Language, options: Options, item_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Items in rounds, each of which shows every entity under every relation once, as long as there are any; so every
    syllable is soon shown in every place."""
    first_N = item_N // language.syllables ** (language.name_length - 2)  # the entity and its first relation
    order_N = np.argsort(first_N, kind="stable")
    round_N = np.empty_like(item_N)
    round_N[order_N] = np.arange(len(item_N)) - np.searchsorted(first_N[order_N], first_N[order_N])
    return item_N[np.argsort(round_N, kind="stable")]


register(
    Generator("hops", "relations of entities, and their compositions", Options, draw, check, covering, begins_with)
)
