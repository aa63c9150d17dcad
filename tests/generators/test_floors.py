"""Floors on examples made by hand, where each way of answering without learning is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthbench.generators import Examples, Language, floor
from synthbench.generators.examples import examples as made
from synthbench.generators.floors import copied, floors, modal, nearest, uniform
from tests.each import each

LANGUAGE = Language(("w",), 5, 2)
Fact = tuple[tuple[int, ...], tuple[int, ...]]  # subject, object
A, B, C = (4, 0), (4, 1), (4, 2)


def examples(*facts: Fact) -> Examples:
    """One example for each (subject, object); its item is its subject's number."""
    left_NS, right_NS = (np.array(side, dtype=np.int32) for side in zip(*facts, strict=True))
    return made(LANGUAGE, "w", left_NS, right_NS, (left_NS @ np.array([5, 1])).astype(np.int64), "fact")


def test_uniform_is_the_mean_chance_copied_repeats_the_prompt_and_modal_is_the_most_common_trained_answer() -> None:
    assert uniform(replace(examples(((0, 0), A), ((0, 1), B)), chance_N=np.array([0.5, 0.25]))) == 0.375
    assert copied(examples(((0, 1), (0, 1)), ((0, 2), (2, 0)), ((1, 1), (1, 1)), ((3, 1), A))) == 0.5
    train = examples(((0, 0), A), ((0, 1), A), ((0, 2), B))
    assert modal(train, examples(((1, 0), A), ((1, 1), B), ((1, 2), B), ((1, 3), C))) == 0.25
    assert modal(train, train) == pytest.approx(2 / 3)


def test_nearest_is_the_answer_of_the_prompt_with_least_hamming_distance() -> None:
    train = examples(((0, 0), A), ((3, 3), B))
    assert nearest(train, examples(((0, 1), A), ((3, 2), A), ((1, 3), B), ((2, 0), B))) == 0.5
    # the first of equals
    assert nearest(train, examples(((0, 3), A))) == 1
    assert nearest(examples(((3, 3), B), ((0, 0), A)), examples(((0, 3), A))) == 0
    # a trained item is not its own neighbour: (3, 3) is equally far from both others, which have another answer
    train = examples(((0, 0), A), ((0, 1), A), ((3, 3), B))
    assert nearest(train, train) == pytest.approx(2 / 3)


@each("block", [1, 2, 3, 256])
def test_nearest_does_not_depend_on_how_many_are_looked_at_together(block: int) -> None:
    generator = np.random.default_rng(0)
    item_N = generator.permutation(LANGUAGE.names)
    name_NS, object_NS = LANGUAGE.spell(item_N), LANGUAGE.spell(item_N // 3)
    every = examples(*zip(map(tuple, name_NS.tolist()), map(tuple, object_NS.tolist()), strict=True))
    train, asked = every.take(slice(0, 12)), every.take(slice(12, 25))
    assert nearest(train, asked, block) == nearest(train, asked)


@each(
    ("train", "asked", "best"),
    [
        # no way is right but chance
        ([((0, 0), A)], [((3, 3), B), ((3, 2), C)], 1 / 25),
        # modal: one answer to three of four; the nearest to the last is wrong
        ([((0, 0), A), ((0, 1), A), ((3, 3), B)], [((3, 0), A), ((3, 1), A), ((3, 2), A), ((0, 3), C)], 0.75),
        # copied
        ([((0, 0), A)], [((1, 1), (1, 1)), ((2, 2), (2, 2)), ((2, 1), B)], 2 / 3),
        # nearest: each has a neighbour of its own
        ([((0, 0), A), ((1, 1), B), ((2, 2), C)], [((0, 3), A), ((1, 3), B), ((2, 3), C)], 1.0),
    ],
)
def test_the_floor_is_the_best_of_the_four(train: list[Fact], asked: list[Fact], best: float) -> None:
    assert floor(examples(*train), examples(*asked)) == pytest.approx(best)


def test_a_shorter_answer_is_copied_guessed_and_compared_as_far_as_it_goes() -> None:
    """Pairs with one syllable to answer: the copy of `a b` is `a`, a uniform guess one of five."""
    train = examples(((0, 1), (0,)), ((0, 2), (2,)), ((3, 3), (2,)))
    # copied: the first, fourth, fifth and sixth. modal, 2: the second, third and fifth. nearest, the first of equals:
    asked = examples(
        ((0, 3), (0,)),  # (0, 1), at one difference: 0, right
        ((3, 1), (2,)),  # (0, 1), at one difference: 0, wrong
        ((1, 3), (2,)),  # (3, 3), at one difference: 2, right
        ((4, 2), (4,)),  # (0, 2), at one difference: 2, wrong
        ((2, 4), (2,)),  # (0, 1), at two differences as all: 0, wrong
        ((4, 4), (4,)),  # likewise
    )
    assert floors(train, asked) == pytest.approx({"uniform": 0.2, "modal": 3 / 6, "copy": 4 / 6, "nearest": 2 / 6})
    assert floor(train, asked) == pytest.approx(4 / 6)


def test_a_longer_answer_that_begins_with_the_modal_one_is_not_it() -> None:
    """The end is part of the answer: padding behind a short one does not count as agreement."""
    train, asked = examples(((0, 0), (2,)), ((0, 1), (2,))), examples(((3, 3), (2,)))
    longer = replace(asked, tokens_NL=examples(((3, 3), (2, 2))).tokens_NL)
    assert modal(train, asked) == 1
    assert modal(train, longer) == 0
