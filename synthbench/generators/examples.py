"""Examples and the tokens they are made of.

    owns  ka mi to  =  re so ne  .          a fact: the answer is independent of the subject
    past  ka mi to  =  ka mi se  .          a rule item: the answer follows from the stem
    plus  ka mi  =  so  .  _                a shorter answer, padded to the task's length
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
SPLITS = ("train", "validation", "test", "unseen")
BUCKETS = ("all", "head", "middle", "tail")  # of realized exposures; `all` where items are seen equally often
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
    SLICES. bucket_N: index into BUCKETS. repeats_N: how often an item is seen while one with 1 is seen once. item_N:
    identity of the item; no two splits share one. rule_answer_NL: the tokens with the answer that the rule would give
    (-1 where no rule applies). bits_N: entropy of the answer for someone who knows neither the item nor the rule.
    chance_N: probability that a uniform guess among well-formed answers is right.
    """

    tokens_NL: Ints
    answer_NL: NDArray[np.bool_]
    slice_N: NDArray[np.int8]
    bucket_N: NDArray[np.int8]
    repeats_N: NDArray[np.int16]
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
    """Trained items, items for choosing learning rates, items for scores; disjoint by item.

    validation and test are new combinations of parts that training shows; unseen has items with a part that it never
    shows (none, where the slice's options hold no part out).
    """

    train: Examples
    validation: Examples
    test: Examples
    unseen: Examples


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


def examples(
    language: Language, word: str, left_NS: Ints, right_NS: Ints, item_N: NDArray[np.int64], slice_name: str
) -> Examples:
    """Examples `word left = right .` of one slice, from 0-based syllables; a short answer is padded behind its end.

    They follow no rule, are seen equally often, and any answer of this length is as likely as any other.
    """
    count, start = len(item_N), language.name_length + 2
    size = right_NS.shape[1]
    tokens_NL = np.full((count, language.length), PADDING, dtype=np.int32)
    tokens_NL[:, 0] = SPECIAL + language.words.index(word)
    tokens_NL[:, 1 : start - 1] = left_NS + language.first_syllable
    tokens_NL[:, start - 1] = EQUALS
    tokens_NL[:, start : start + size] = right_NS + language.first_syllable
    tokens_NL[:, start + size] = END
    answer_NL = np.zeros(tokens_NL.shape, dtype=bool)
    answer_NL[:, start : start + size + 1] = True
    return Examples(
        tokens_NL=tokens_NL,
        answer_NL=answer_NL,
        slice_N=np.full(count, SLICES.index(slice_name), dtype=np.int8),
        bucket_N=np.zeros(count, dtype=np.int8),
        repeats_N=np.ones(count, dtype=np.int16),
        item_N=item_N,
        rule_answer_NL=np.full_like(tokens_NL, -1),
        bits_N=np.full(count, size * np.log2(language.syllables)),
        chance_N=np.full(count, 1 / language.syllables**size),
    )


def join(parts: Mapping[str, Examples]) -> Examples:
    """All examples of several slices, one after the other."""
    columns = [vars(part) for part in parts.values()]
    return Examples(**{name: np.concatenate([column[name] for column in columns]) for name in columns[0]})


def by_slice(drawn: Examples) -> dict[str, Examples]:
    """Examples apart by their slice."""
    present = [name for index, name in enumerate(SLICES) if index in drawn.slice_N]
    return {name: drawn.take(np.flatnonzero(drawn.slice_N == SLICES.index(name))) for name in present}
