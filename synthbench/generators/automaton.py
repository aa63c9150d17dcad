"""Strings of a random probabilistic automaton: `word string = what follows .`

    says  ka mi ka to  =  mi mi ka so .        the string decides the state, the state what may follow, syllable by syllable

In every state the next syllable is drawn from a distribution of the state's own; each syllable leads from every state to
another one (a permutation of the states), so strings of any length leave every state as likely as any other. Another seed
has another automaton. The string before = is drawn uniformly, the one behind it from the automaton:
an answer has an entropy even for someone who knows the automaton, and a model is as good as its distributions are. `exact`
gives the true ones; the probe `automaton` compares a model's with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthbench.generators.examples import Examples, Ints, Language, Place, examples, stream
from synthbench.generators.registry import Framed, Generator, register

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Options(Framed):
    """word: what begins a string."""

    states: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    concentration: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 0.3
    """Of the Dirichlet distribution that a state's distribution is drawn from: the smaller, the less may follow."""


class Automaton(NamedTuple):
    """next_QS: the state that each syllable leads to from each state. chance_QS: the next syllable's distribution."""

    next_QS: Integers
    chance_QS: Floats


def automaton(language: Language, options: Options, place: Place) -> Automaton:
    """The automaton of a seed, the same in every stage and split; it starts in state 0."""
    drawn = stream(Place(place.seed, place.task, "", ""), "", f"automaton under {options.word}")
    each = np.tile(np.arange(options.states), (language.syllables, 1))
    next_QS = drawn.permuted(each, axis=1).T
    chance_QS = drawn.dirichlet(np.full(language.syllables, options.concentration), size=options.states)
    return Automaton(next_QS, chance_QS)


def after(machine: Automaton, string_NS: Ints) -> Integers:
    """The state after each string of 0-based syllables."""
    state_N = np.zeros(len(string_NS), dtype=np.int64)
    for syllable_N in string_NS.T:
        state_N = machine.next_QS[state_N, syllable_N]
    return state_N


def exact(machine: Automaton, string_NS: Ints, answer_NA: Ints) -> Floats:
    """The distribution of each syllable of the answers, given the string and the answer before it: shape (N, A, S)."""
    state_N, chances = after(machine, string_NS), []
    for syllable_N in answer_NA.T:
        chances.append(machine.chance_QS[state_N])
        state_N = machine.next_QS[state_N, syllable_N]
    return np.stack(chances, axis=1)


def draw(language: Language, options: Options, item_N: Integers, place: Place, split: str) -> Examples:
    """What follows each string in item_N (names by number), as long as the string: an item's chance is its own."""
    string_NS, machine = language.spell(item_N), automaton(language, options, place)
    luck = stream(Place(place.seed, place.task, "", ""), "", f"what follows under {options.word}")
    luck_NA = luck.random((language.names, language.name_length))[item_N]
    state_N, following = after(machine, string_NS), []
    for luck_N in luck_NA.T:
        below_NS = machine.chance_QS.cumsum(axis=1)[state_N, :-1]  # the last one takes what rounding leaves
        following.append((luck_N[:, None] >= below_NS).sum(axis=1))
        state_N = machine.next_QS[state_N, following[-1]]
    answer_NA = np.stack(following, axis=1).astype(np.int32)
    drawn = examples(language, options.word, string_NS, answer_NA, item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


register(Generator("automaton", "strings of a random probabilistic automaton", Options, draw))
