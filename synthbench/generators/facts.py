"""Random facts: `relation subject = object .`

    owns  ka mi to  =  re so ne  .

Objects are drawn uniformly and independently of their subjects, so an answer's entropy is that of a name and nothing
but the fact itself helps to answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbench.generators.examples import SLICES, Examples, Language, Place, compose, stream
from synthbench.generators.registry import Framed, Generator, register


class Options(Framed):
    """word: the relation."""


def draw(language: Language, options: Options, item_N: NDArray[np.int64], place: Place, split: str) -> Examples:
    """One fact about each subject in item_N (names by number)."""
    count = len(item_N)
    object_N = stream(place, split, "objects").integers(language.names, size=count)
    tokens_NL, answer_NL = compose(language, options.word, language.spell(item_N), language.spell(object_N))
    return Examples(
        tokens_NL=tokens_NL,
        answer_NL=answer_NL,
        slice_N=np.full(count, SLICES.index("fact"), dtype=np.int8),
        bucket_N=np.zeros(count, dtype=np.int8),
        item_N=item_N,
        rule_answer_NL=np.full_like(tokens_NL, -1),
        bits_N=np.full(count, language.name_bits),
        chance_N=np.full(count, 1 / language.names),
    )


register(Generator("facts", "random facts: a subject's object is drawn uniformly", Options, draw))
