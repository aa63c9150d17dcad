"""Attributes of persons in sentences of several phrasings: `word phrase person = attribute .`

    bio   ka mi to  =  re so ne  .        of the person mi to, said in the phrasing ka
    bio   su mi to  =  re so ne  .        the same, paraphrased

The first syllable of a name is the phrasing, the others are the person; an attribute is a name drawn uniformly for each
person, another one at each seed, whatever the word, the phrasing and the stage. Trained items come in rounds: the first has
every person once, in a random phrasing, the next ones paraphrase. Held-out items are known persons in phrasings that were
not trained. Under `unseen` = U, no trained item is of a person that begins with one of U syllables: such persons are known
from the sentences of another word, and whether they are answered shows whether what was stored can be extracted. (arXiv
2309.14316: without paraphrase in pretraining a stored fact is not extractable by finetuning.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthbench.generators.examples import Examples, Language, Place, examples, stream
from synthbench.generators.registry import Framed, Generator, register

Integers = NDArray[np.int64]


class Options(Framed):
    """word: what begins a sentence."""


def check(language: Language, options: Options, items: int) -> str | None:
    """What is wrong with this language, or nothing."""
    if language.name_length < 2:
        return f"name_length = {language.name_length} must be at least 2, for a phrasing and a person"
    return None


def persons(language: Language) -> int:
    """How many persons there are."""
    return int(language.syllables ** (language.name_length - 1))


def draw(language: Language, options: Options, item_N: Integers, place: Place, split: str) -> Examples:
    """A sentence of each item (names by number)."""
    world = stream(Place(place.seed, place.task, "", ""), "", "attributes")
    attribute_P = world.integers(language.names, size=persons(language))
    attribute_NS = language.spell(attribute_P[item_N % persons(language)])
    kind = "fact" if place.slice == "fact" else "rule"
    drawn = examples(language, options.word, language.spell(item_N), attribute_NS, item_N, kind)
    return replace(drawn, rule_answer_NL=drawn.tokens_NL) if kind == "rule" else drawn


def of_persons(language: Language, options: Options, item_N: Integers, part_U: Integers) -> NDArray[np.bool_]:
    """Which sentences are of persons that begin with one of these syllables."""
    return np.isin(language.spell(item_N)[:, 1], part_U)


def in_rounds(language: Language, options: Options, item_N: Integers) -> Integers:
    """Sentences in rounds of all persons, as long as there are any."""
    person_N = item_N % persons(language)
    order_N = np.argsort(person_N, kind="stable")
    round_N = np.empty_like(item_N)
    round_N[order_N] = np.arange(len(item_N)) - np.searchsorted(person_N[order_N], person_N[order_N])
    return item_N[np.argsort(round_N, kind="stable")]


register(Generator("biographies", "attributes of persons, paraphrased", Options, draw, check, in_rounds, of_persons))
