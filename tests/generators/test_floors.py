"""Floors: the accuracy of answers without learning, on examples by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthbench.generators import Examples, Language, floor
from synthbench.generators.examples import examples as examples_of
from synthbench.generators.floors import copied, floors, modal, nearest, uniform
from tests.each import each

LANGUAGE = Language(("w",), 5, 2)
Fact = tuple[tuple[int, ...], tuple[int, ...]]  # subject, object
A, B, C = (4, 0), (4, 1), (4, 2)


def examples(*facts: Fact) -> Examples:
    """One example per (subject, object); its item is the number of its subject."""
    left_NS, right_NS = (np.array(side, dtype=np.int32) for side in zip(*facts, strict=True))
    return examples_of(LANGUAGE, "w", left_NS, right_NS, (left_NS @ np.array([5, 1])).astype(np.int64), "fact")


def test_uniform_copied_and_modal_by_hand() -> None:
    assert uniform(replace(examples(((0, 0), A), ((0, 1), B)), chance_N=np.array([0.5, 0.25]))) == 0.375
    assert copied(examples(((0, 1), (0, 1)), ((0, 2), (2, 0)), ((1, 1), (1, 1)), ((3, 1), A))) == 0.5
    train = examples(((0, 0), A), ((0, 1), A), ((0, 2), B))
    assert modal(train, examples(((1, 0), A), ((1, 1), B), ((1, 2), B), ((1, 3), C))) == 0.25
    assert modal(train, train) == pytest.approx(2 / 3)


def test_nearest_is_the_answer_of_the_prompt_with_least_hamming_distance() -> None:
    train = examples(((0, 0), A), ((3, 3), B))
    assert nearest(train, examples(((0, 1), A), ((3, 2), A), ((1, 3), B), ((2, 0), B))) == 0.5
    # ties: the first trained item
    assert nearest(train, examples(((0, 3), A))) == 1
    assert nearest(examples(((3, 3), B), ((0, 0), A)), examples(((0, 3), A))) == 0
    # a trained item is not its own neighbour: (3, 3) is equally far from both others, whose answer differs
    train = examples(((0, 0), A), ((0, 1), A), ((3, 3), B))
    assert nearest(train, train) == pytest.approx(2 / 3)


@each("block", [1, 2, 3, 256])
def test_nearest_does_not_depend_on_the_block_size(block: int) -> None:
    generator = np.random.default_rng(0)
    item_N = generator.permutation(LANGUAGE.names)
    name_NS, object_NS = LANGUAGE.spell(item_N), LANGUAGE.spell(item_N // 3)
    all_examples = examples(*zip(map(tuple, name_NS.tolist()), map(tuple, object_NS.tolist()), strict=True))
    train, held_out = all_examples.take(slice(0, 12)), all_examples.take(slice(12, 25))
    assert nearest(train, held_out, block) == nearest(train, held_out)


@each(
    ("train", "held_out", "best"),
    [
        # chance is the best
        ([((0, 0), A)], [((3, 3), B), ((3, 2), C)], 1 / 25),
        # modal: correct for three of four
        ([((0, 0), A), ((0, 1), A), ((3, 3), B)], [((3, 0), A), ((3, 1), A), ((3, 2), A), ((0, 3), C)], 0.75),
        # copied
        ([((0, 0), A)], [((1, 1), (1, 1)), ((2, 2), (2, 2)), ((2, 1), B)], 2 / 3),
        # nearest: each has a trained neighbour with its answer
        ([((0, 0), A), ((1, 1), B), ((2, 2), C)], [((0, 3), A), ((1, 3), B), ((2, 3), C)], 1.0),
    ],
)
def test_the_floor_is_the_best_of_the_four(train: list[Fact], held_out: list[Fact], best: float) -> None:
    assert floor(examples(*train), examples(*held_out)) == pytest.approx(best)


def test_floors_of_answers_shorter_than_their_prompts_by_hand() -> None:
    """Answers have one syllable: the copy of `a b` is `a`, and a uniform guess is one of five."""
    train = examples(((0, 1), (0,)), ((0, 2), (2,)), ((3, 3), (2,)))
    # copied is correct for the first, fourth, fifth and sixth; modal (2) for the second, third and fifth; nearest:
    held_out = examples(
        ((0, 3), (0,)),  # (0, 1), distance 1: 0, correct
        ((3, 1), (2,)),  # (0, 1), distance 1: 0, wrong
        ((1, 3), (2,)),  # (3, 3), distance 1: 2, correct
        ((4, 2), (4,)),  # (0, 2), distance 1: 2, wrong
        ((2, 4), (2,)),  # (0, 1), all at distance 2: 0, wrong
        ((4, 4), (4,)),  # (0, 1), all at distance 2: 0, wrong
    )
    assert floors(train, held_out) == pytest.approx({"uniform": 0.2, "modal": 3 / 6, "copy": 4 / 6, "nearest": 2 / 6})
    assert floor(train, held_out) == pytest.approx(4 / 6)


def test_a_longer_answer_is_not_modal() -> None:
    """The end token is part of the answer; padding does not count as agreement."""
    train, held_out = examples(((0, 0), (2,)), ((0, 1), (2,))), examples(((3, 3), (2,)))
    longer = replace(held_out, tokens_NL=examples(((3, 3), (2, 2))).tokens_NL)
    assert modal(train, held_out) == 1
    assert modal(train, longer) == 0
