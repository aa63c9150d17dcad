"""Modular arithmetic: c = x a + y b + z modulo p, on every pair of operands."""

from __future__ import annotations

import numpy as np
import pytest

from synthbench.generators import Language, Place, modular
from synthbench.generators.examples import END, EQUALS, PADDING
from tests.each import each
from tests.generators import shipped, small

PLACE = Place(0, "task", "stage", "rule")
SUMS = shipped.of_generator("modular")


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
    found = modular.draw(language, options, np.arange(9), PLACE, "train")
    first = language.first_syllable
    for item, row in enumerate(found.tokens_NL.tolist()):
        a, b = divmod(item, 3)
        assert row == [3, first + a, first + b, EQUALS, first + table[a][b], END, PADDING]
    assert found.answer_NL.tolist() == [[False] * 4 + [True, True, False]] * 9
    assert np.array_equal(found.rule_answer_NL, found.tokens_NL)
    assert found.chance_N == pytest.approx([1 / 3] * 9)


@each(("label", "stage", "part"), SUMS)
def test_every_shipped_example_is_the_sum_that_its_card_says(label: str, stage: str, part: str) -> None:
    options = shipped.card_of(label, stage, part).options
    (x, y), z = options.get("factors", (1, 1)), options.get("constant", 0)
    language = shipped.task(label).language
    for examples in shipped.drawn(label, stage)[part]:
        for row, item in zip(examples.tokens_NL.tolist(), examples.item_N.tolist(), strict=True):
            a, b, c = (row[place] - language.first_syllable for place in (1, 2, 4))
            assert (a, b) == divmod(item, language.syllables)
            assert c == (x * a + y * b + z) % language.syllables


@each("unseen", [0, 1, 2])
def test_every_pair_of_operands_is_an_item_and_all_can_be_drawn(unseen: int) -> None:
    """Of 7 operands, 7 - U are shown: as many pairs as their square are trained or held out, the others are unseen."""
    shown = (7 - unseen) ** 2
    options = {"unseen": unseen, "items": shown - 4 - 6}
    task = small.task("modular", options)
    splits = task.draw("only", 0)["rule"]
    seen = np.concatenate([examples.item_N for examples in splits[:3]])
    pairs = task.language.spell(seen)
    assert len(set(seen.tolist())) == shown
    assert len(np.unique(pairs)) == 7 - unseen
    held_out = {int(s) for s in range(7)} - set(pairs.reshape(-1).tolist())
    assert len(held_out) == unseen
    assert all(held_out & set(pair) for pair in task.language.spell(splits.unseen.item_N).tolist())
    assert len(splits.unseen) == min(6, 49 - shown)


@each("seed", range(20))
@each("unseen", [0, 2])
def test_twice_as_many_pairs_as_operands_show_every_operand_in_each_place(seed: int, unseen: int) -> None:
    task = small.task("modular", {"unseen": unseen, "items": 2 * (7 - unseen)})
    first_N, second_N = task.language.spell(task.draw("only", seed)["rule"].train.item_N).T
    assert len(set(first_N.tolist())) == len(set(second_N.tolist())) == 7 - unseen


def test_pairs_that_are_arranged_are_the_same_pairs_and_the_rest_keeps_its_order() -> None:
    language = Language(("plus",), 3, 2)
    # pairs 00 11 12 01 22 10 by number; the first, second, fifth show an operand first, the third shows 2 second first
    found = modular.covering(language, np.array([0, 4, 5, 1, 8, 3]))
    assert found.tolist() == [0, 4, 5, 8, 1, 3]


@each("part", [[0], [2], [0, 1]])
def test_a_pair_is_unseen_if_either_operand_is_held_out(part: list[int]) -> None:
    language = Language(("plus",), 3, 2)
    is_unseen = modular.has_operand(language, np.arange(9), np.array(part))
    assert is_unseen.tolist() == [bool({*divmod(item, 3)} & set(part)) for item in range(9)]
