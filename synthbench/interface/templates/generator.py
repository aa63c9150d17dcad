"""A generator of your own: a rule whose form is the stem, its syllables turned around.

    turn  ka mi to  =  mi to ka  .

A task's card names it: generator = "my_generator.py:my_generator" (see my_generator.toml, beside this file).

synthbench verify --task my_generator.toml
"""

from dataclasses import replace

import numpy as np

from synthbench.generators import Framed, Generator
from synthbench.generators.examples import examples


class Options(Framed):
    """What a card may say beside `word`, which frames the items: names, types and defaults."""

    places: int = 1
    """By how many places syllables turn."""


def check(language, options, items):
    """What is wrong with these options in this language, in words, or None."""
    if options.places % language.name_length == 0:
        return f"places = {options.places} turns names of {language.name_length} syllables to themselves"
    return None


def draw(language, options, item_N, place, split):
    """One example for each of N items, which are names by number.

    What is random is drawn from synthbench.generators.stream(place, split, "a purpose"), and from nothing else: then every
    process draws the same.
    """
    stem_NS = language.spell(item_N)  # syllables from 0, shape (N, syllables of a name)
    form_NS = np.roll(stem_NS, -options.places, axis=1)
    found = examples(language, options.word, stem_NS, form_NS, item_N, "rule")
    return replace(found, rule_answer_NL=found.tokens_NL)  # what the rule would answer: -1 where none applies


my_generator = Generator("my_generator", "stems with their syllables turned around", Options, draw, check)
