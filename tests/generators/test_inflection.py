"""Inflection: the class of the stem's last syllable says how far that syllable moves."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbench.generators import Language, Place, inflection
from tests.each import each

LANGUAGE = Language(("past",), 4, 2)
PLACE = Place(0, "task", "finetune", "rule")


@each(
    ("syllables", "shifts", "last", "moved"),
    [
        # classes of 4 syllables in two: 0 0 1 1, moved on by 1 1 3 3, modulo 4
        (4, [1, 3], [0, 1, 2, 3], [1, 2, 1, 2]),
        # one class
        (4, [2], [0, 1, 2, 3], [2, 3, 0, 1]),
        # classes of 5 syllables in two: 0 0 0 1 1, moved on by 2 2 2 4 4, modulo 5
        (5, [2, 4], [0, 1, 2, 3, 4], [2, 3, 4, 2, 3]),
        # as many classes as syllables
        (3, [1, 2, 1], [0, 1, 2], [1, 0, 0]),
    ],
)
def test_the_last_syllable_moves_by_the_shift_of_its_class(
    syllables: int, shifts: list[int], last: list[int], moved: list[int]
) -> None:
    stem_NS = np.array([[1, 2, s] for s in last], dtype=np.int32)
    form_NS = inflection.inflect(stem_NS, shifts, syllables)
    assert form_NS.tolist() == [[1, 2, s] for s in moved]
    assert stem_NS[:, -1].tolist() == last


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(st.integers(1, n - 1), min_size=1, max_size=n), st.lists(st.integers(0, n - 1), min_size=1)
)))  # fmt: skip
def test_no_stem_is_its_own_form_and_every_form_is_a_name(case: tuple[int, list[int], list[int]]) -> None:
    syllables, shifts, last = case
    stem_NS = np.array(last, dtype=np.int32)[:, None]
    form_NS = inflection.inflect(stem_NS, shifts, syllables)
    assert (form_NS != stem_NS).all()
    assert ((form_NS >= 0) & (form_NS < syllables)).all()


@given(st.integers(2, 64).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_classes_are_neighbours_and_as_equal_as_can_be(case: tuple[int, int]) -> None:
    syllables, classes = case
    stem_NS = np.arange(syllables, dtype=np.int32)[:, None]
    # shifts that name their class: the form less the stem is the class
    class_N = (inflection.inflect(stem_NS, list(range(classes)), syllables) - stem_NS)[:, 0] % syllables
    sizes = np.bincount(class_N, minlength=classes)
    assert (np.diff(class_N) >= 0).all()
    assert sizes.max() - sizes.min() <= 1
    assert sizes.sum() == syllables


def test_the_answer_is_the_answer_by_rule_and_does_not_depend_on_seed_or_split() -> None:
    options, item_N = inflection.Options(word="past", shifts=[1, 3]), np.arange(LANGUAGE.names)
    one = inflection.draw(LANGUAGE, options, item_N, PLACE, "train")
    other = inflection.draw(LANGUAGE, options, item_N, PLACE._replace(seed=1), "test")
    assert one.digest() == other.digest()
    assert np.array_equal(one.rule_answer_NL, one.tokens_NL)


def test_guessing_among_well_formed_answers_hits_as_often_as_the_stated_chance() -> None:
    count = 8192
    item_N = np.arange(count) % LANGUAGE.names
    examples = inflection.draw(LANGUAGE, inflection.Options(word="past", shifts=[1, 3]), item_N, PLACE, "test")
    form_NS = examples.tokens_NL[:, 4:6] - LANGUAGE.first_syllable
    guess_NS = LANGUAGE.spell(np.random.default_rng(5).integers(LANGUAGE.names, size=count))
    chance = examples.chance_N.mean()
    assert chance == pytest.approx(1 / 16)
    assert abs((guess_NS == form_NS).all(1).mean() - chance) < 4 * sqrt(chance / count)


@each(
    ("shifts", "wrong"),
    [([1], None), ([3, 1, 2, 3], None), ([4], "between 1 and 3"), ([1, 9], "between 1 and 3"), ([1] * 5, "5 classes")],
)
def test_options_that_the_language_cannot_hold_are_named(shifts: list[int], wrong: str | None) -> None:
    found = inflection.check(LANGUAGE, inflection.Options(word="past", shifts=shifts), 10)
    assert (found is None) if wrong is None else (found is not None and wrong in found)
