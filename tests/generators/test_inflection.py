"""Inflection shifts the last or the first syllable of a stem; the shift depends on the syllable's class."""

from __future__ import annotations

from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synthbench.generators import Language, Place, inflection
from tests.each import each

LANGUAGE = Language(("past",), 4, 2)
PLACE = Place(0, "task", "finetune", "rule")


def options(shifts: list[int], moves: Literal["first", "last"] = "last") -> inflection.Options:
    return inflection.Options(word="past", shifts=shifts, moves=moves)


@each(
    ("syllables", "shifts", "last", "expected"),
    [
        # 4 syllables in two classes: 0 0 1 1, shifted by 1 1 3 3, modulo 4
        (4, [1, 3], [0, 1, 2, 3], [1, 2, 1, 2]),
        # one class
        (4, [2], [0, 1, 2, 3], [2, 3, 0, 1]),
        # 5 syllables in two classes: 0 0 0 1 1, shifted by 2 2 2 4 4, modulo 5
        (5, [2, 4], [0, 1, 2, 3, 4], [2, 3, 4, 2, 3]),
        # as many classes as syllables
        (3, [1, 2, 1], [0, 1, 2], [1, 0, 0]),
    ],
)
def test_the_syllable_that_moves_does_so_by_the_shift_of_its_class(
    syllables: int, shifts: list[int], last: list[int], expected: list[int]
) -> None:
    stem_NS = np.array([[1, 2, s] for s in last], dtype=np.int32)
    form_NS = inflection.inflect(stem_NS, options(shifts), syllables)
    assert form_NS.tolist() == [[1, 2, s] for s in expected]
    mirrored = inflection.inflect(stem_NS[:, ::-1], options(shifts, "first"), syllables)
    np.testing.assert_array_equal(mirrored, form_NS[:, ::-1])
    assert stem_NS[:, -1].tolist() == last


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(st.integers(1, n - 1), min_size=1, max_size=n), st.lists(st.integers(0, n - 1), min_size=1)
)))  # fmt: skip
def test_every_form_is_a_name_and_differs_from_its_stem(case: tuple[int, list[int], list[int]]) -> None:
    syllables, shifts, last = case
    stem_NS = np.array(last, dtype=np.int32)[:, None]
    form_NS = inflection.inflect(stem_NS, options(shifts), syllables)
    assert (form_NS != stem_NS).all()
    assert ((form_NS >= 0) & (form_NS < syllables)).all()


@given(st.integers(2, 64).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_classes_are_contiguous_and_of_nearly_equal_size(case: tuple[int, int]) -> None:
    syllables, classes = case
    stem_NS = np.arange(syllables, dtype=np.int32)[:, None]
    # each class has its index as shift (0 is none that a card may have): form - stem is the class
    unchecked = inflection.Options.model_construct(word="w", shifts=list(range(classes)), moves="last")
    class_N = (inflection.inflect(stem_NS, unchecked, syllables) - stem_NS)[:, 0] % syllables
    sizes = np.bincount(class_N, minlength=classes)
    assert (np.diff(class_N) >= 0).all()
    assert sizes.max() - sizes.min() <= 1
    assert sizes.sum() == syllables


@each("moves", ["first", "last"])
def test_the_answer_is_the_rule_s_for_every_seed_and_split(moves: Literal["first", "last"]) -> None:
    item_N = np.arange(LANGUAGE.names)
    first = inflection.draw(LANGUAGE, options([1, 3], moves), item_N, PLACE, "train")
    second = inflection.draw(LANGUAGE, options([1, 3], moves), item_N, PLACE._replace(seed=1), "test")
    assert first.digest() == second.digest()
    assert np.array_equal(first.rule_answer_NL, first.tokens_NL)


@each(("moves", "syllable_N"), [("first", [0, 0, 0, 1, 1, 1, 2, 2, 2]), ("last", [0, 1, 2, 0, 1, 2, 0, 1, 2])])
def test_parts_are_held_out_where_the_rule_moves_them(moves: Literal["first", "last"], syllable_N: list[int]) -> None:
    language, item_N = Language(("past",), 3, 2), np.arange(9)  # the names 00 01 02 10 11 12 20 21 22
    assert inflection.moving(language, options([1], moves), item_N).tolist() == syllable_N
    has_part_N = inflection.has_part(language, options([1], moves), item_N, np.array([0, 2]))
    assert has_part_N.tolist() == [syllable != 1 for syllable in syllable_N]


@each(("moves", "expected"), [("first", [0, 4, 6, 2, 3, 1]), ("last", [0, 4, 2, 6, 1, 3])])
def test_items_are_in_rounds_over_the_syllables_that_move(moves: Literal["first", "last"], expected: list[int]) -> None:
    # the names 00 01 02 10 11 20: three, two and one begin with 0, 1 and 2, and as many end with them; the first of a round
    # are 00, then what shows most that is new: 11 rather than 10, 20; in the second round 02 rather than 01
    language = Language(("past",), 3, 2)
    arranged = inflection.balanced(language, options([1], moves), np.array([0, 1, 2, 3, 4, 6]))
    assert arranged.tolist() == expected
