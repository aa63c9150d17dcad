"""Examples and the tokens they are made of.

    owns  ka mi to  =  re so ne  .          a fact: the answer is independent of the subject
    past  ka mi to  =  ka mi se  .          a rule item: the answer follows from the stem
    ----- prompt -----  - answer -          training loss and scores look at the answer alone

Shapes: N examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SLICES = ("fact", "rule", "exception", "noise")
SPLITS = ("train", "validation", "test")
PADDING, EQUALS, END = 0, 1, 2
SPECIAL = 3

Ints = NDArray[np.int32]


class Language(NamedTuple):
    """Token ids in fixed ranges: specials, then words, then syllables.

    words: the relation and rule words, in id order. syllables: how many distinct ones. name_length: syllables in a
    subject, object, stem or form.
    """

    words: tuple[str, ...]
    syllables: int
    name_length: int

    @property
    def first_syllable(self) -> int:
        return SPECIAL + len(self.words)

    @property
    def vocabulary(self) -> int:
        """Number of distinct tokens."""
        return self.first_syllable + self.syllables

    @property
    def length(self) -> int:
        """Tokens in an example: word, name, =, name, end."""
        return 2 * self.name_length + 3

    @property
    def names(self) -> int:
        """Number of distinct names."""
        return int(self.syllables**self.name_length)

    @property
    def name_bits(self) -> float:
        """Entropy of a name drawn uniformly, in bits."""
        return float(self.name_length * np.log2(self.syllables))

    def spell(self, name_N: NDArray[np.int64]) -> Ints:
        """Syllables (0-based), shape (N, name_length), of names given by number."""
        powers = self.syllables ** np.arange(self.name_length)[::-1]
        return (name_N[:, None] // powers % self.syllables).astype(np.int32)

    def text(self, token: int) -> str:
        """A token as people read it."""
        if token < SPECIAL:
            return ("_", "=", ".")[token]
        if token < self.first_syllable:
            return self.words[token - SPECIAL]
        onset, vowel = divmod(token - self.first_syllable, 5)
        onsets = "ptkmnslrbdgvzjfhwxcqy"
        return (onsets[onset] if onset < len(onsets) else f"{onset}") + "aeiou"[vowel]


@dataclass(frozen=True)
class Examples:
    """N examples, each with what is known about it.

    tokens_NL: token ids. answer_NL: true where a token belongs to the answer (end token included). slice_N: index into
    SLICES. bucket_N: bucket of realized exposures (0 where all items are seen equally often). item_N: identity of the
    item; no two splits share one. rule_answer_NL: the tokens with the answer that the rule would give (-1 where no rule
    applies). bits_N: entropy of the answer for someone who knows neither the item nor the rule. chance_N: probability
    that a uniform guess among well-formed answers is right.
    """

    tokens_NL: Ints
    answer_NL: NDArray[np.bool_]
    slice_N: NDArray[np.int8]
    bucket_N: NDArray[np.int8]
    item_N: NDArray[np.int64]
    rule_answer_NL: Ints
    bits_N: NDArray[np.float64]
    chance_N: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tokens_NL)

    def take(self, indices: NDArray[np.int64] | slice) -> Examples:
        """The examples at these places, in this order."""
        return Examples(**{name: array[indices] for name, array in vars(self).items()})

    def digest(self) -> str:
        """sha256 over every array: two draws are the same data if and only if this agrees."""
        state = sha256()
        for name, array in vars(self).items():
            state.update(f"{name}{array.dtype}{array.shape}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


class Splits(NamedTuple):
    """Trained items, items for choosing learning rates, items for scores; disjoint by item."""

    train: Examples
    validation: Examples
    test: Examples


class Place(NamedTuple):
    """Where randomness is drawn for: everything a stream's seed depends on besides its purpose."""

    seed: int
    task: str
    stage: str
    slice: str


def stream(place: Place, split: str, purpose: str) -> np.random.Generator:
    """The random stream of one (root seed, task, stage, slice, split, purpose); all such streams are independent.

    Names enter through sha256, so that a stream depends on nothing but its own address.
    """
    address = "\0".join((place.task, place.stage, place.slice, split, purpose))
    words = np.frombuffer(sha256(address.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([place.seed, *map(int, words)]))


def compose(language: Language, word: str, left_NS: Ints, right_NS: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens and answer mask of `word left = right .`, from 0-based syllables."""
    count, length = len(left_NS), language.name_length
    tokens_NL = np.empty((count, language.length), dtype=np.int32)
    tokens_NL[:, 0] = SPECIAL + language.words.index(word)
    tokens_NL[:, 1 : 1 + length] = left_NS + language.first_syllable
    tokens_NL[:, 1 + length] = EQUALS
    tokens_NL[:, 2 + length : -1] = right_NS + language.first_syllable
    tokens_NL[:, -1] = END
    answer_NL = np.zeros(tokens_NL.shape, dtype=bool)
    answer_NL[:, 2 + length :] = True
    return tokens_NL, answer_NL


def join(parts: Mapping[str, Examples]) -> Examples:
    """All examples of several slices, one after the other."""
    columns = [vars(part) for part in parts.values()]
    return Examples(**{name: np.concatenate([column[name] for column in columns]) for name in columns[0]})
