"""Modular arithmetic: c = x a + y b + z modulo p, on every pair of operands."""

from __future__ import annotations

import numpy as np
import pytest

from synthbench.generators import Language, Place, modular
from synthbench.generators.examples import END, EQUALS, PADDING
from tests.each import each
from tests.generators import shipped, small

PLACE = Place(0, "task", "stage", "rule")
SUMS = shipped.slices_of_generators("modular")


@each(
    ("factors", "constant", "table"),
    [
        # rows a = 0, 1, 2; columns b = 0, 1, 2; modulo 3
        ((1, 1), 0, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]),
        ((1, 2), 0, [[0, 2, 1], [1, 0, 2], [2, 1, 0]]),  # 2 is -1: a - b
        ((2, 1), 2, [[2, 0, 1], [1, 2, 0], [0, 1, 2]]),  # 2 a + b + 2
        ((4, 1), 3, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]),  # 4 is 1, 3 is 0
    ],
)
def test_the_result_is_the_formula_by_hand(factors: tuple[int, int], constant: int, table: list[list[int]]) -> None:
    language = Language(("plus",), 3, 2)
    options = modular.Options(word="plus", factors=factors, constant=constant)
    examples = modular.draw(language, options, np.arange(9), PLACE, "train")
    first = language.first_syllable
    for item, row in enumerate(examples.tokens_NL.tolist()):
        a, b = divmod(item, 3)
        assert row == [3, first + a, first + b, EQUALS, first + table[a][b], END, PADDING]
    assert examples.answer_NL.tolist() == [[False] * 4 + [True, True, False]] * 9
    assert np.array_equal(examples.rule_answer_NL, examples.tokens_NL)
    assert examples.chance_N == pytest.approx([1 / 3] * 9)


@each(("label", "stage", "slice_name"), SUMS)
def test_every_shipped_example_is_the_sum_of_its_card(label: str, stage: str, slice_name: str) -> None:
    options = shipped.slice_card(label, stage, slice_name).options
    (x, y), z = options.get("factors", (1, 1)), options.get("constant", 0)
    language = shipped.task(label).language
    for examples in shipped.draw(label, stage)[slice_name]:
        for row, item in zip(examples.tokens_NL.tolist(), examples.item_N.tolist(), strict=True):
            a, b, c = (row[position] - language.first_syllable for position in (1, 2, 4))
            assert (a, b) == divmod(item, language.syllables)
            assert c == (x * a + y * b + z) % language.syllables


@each("unseen", [0, 1, 2])
def test_every_pair_of_operands_is_an_item_and_all_can_be_drawn(unseen: int) -> None:
    """U of 7 operands are held out. The (7 - U)^2 pairs of the others are trained or held out, all other pairs unseen."""
    shown_pairs = (7 - unseen) ** 2
    options = {"unseen": unseen, "items": shown_pairs - 4 - 6}
    task = small.task("modular", options)
    splits = task.draw("only", 0)["rule"]
    shown_items = np.concatenate([examples.item_N for examples in splits[:3]])
    pairs = task.language.spell(shown_items)
    assert len(set(shown_items.tolist())) == shown_pairs
    assert len(np.unique(pairs)) == 7 - unseen
    held_out = {int(s) for s in range(7)} - set(pairs.reshape(-1).tolist())
    assert len(held_out) == unseen
    assert all(held_out & set(pair) for pair in task.language.spell(splits.unseen.item_N).tolist())
    assert len(splits.unseen) == min(6, 49 - shown_pairs)


@each("seed", range(20))
@each("unseen", [0, 2])
def test_twice_as_many_pairs_as_operands_show_every_operand_at_each_position(seed: int, unseen: int) -> None:
    task = small.task("modular", {"unseen": unseen, "items": 2 * (7 - unseen)})
    first_N, second_N = task.language.spell(task.draw("only", seed)["rule"].train.item_N).T
    assert len(set(first_N.tolist())) == len(set(second_N.tolist())) == 7 - unseen


def test_arranged_pairs_are_the_same_pairs() -> None:
    language = Language(("plus",), 3, 2)
    # the pairs 00 11 12 01 22 10 by number: 00, 11, 12 and 22 show all operands at both positions and come first
    arranged = modular.covering(language, modular.Options(word="plus"), np.array([0, 4, 5, 1, 8, 3]))
    assert arranged.tolist() == [0, 4, 5, 8, 1, 3]


@each("held_out", [[0], [2], [0, 1]])
def test_a_pair_is_unseen_if_either_operand_is_held_out(held_out: list[int]) -> None:
    language = Language(("plus",), 3, 2)
    is_unseen = modular.has_operand(language, modular.Options(word="plus"), np.arange(9), np.array(held_out))
    assert is_unseen.tolist() == [bool({*divmod(item, 3)} & set(held_out)) for item in range(9)]
