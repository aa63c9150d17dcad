"""Routing: answers follow from two hidden classes; nothing else does."""

from __future__ import annotations

import numpy as np

from synthbench.generators import GENERATORS, Language, Place, routing
from synthbench.generators.examples import END, EQUALS, PADDING
from tests.each import each
from tests.generators import shipped

LANGUAGE = Language(("from",), 12, 2)
EVERY = np.arange(144)


def answers(classes: int, place: Place, split: str = "train") -> np.ndarray:
    """The table of answers, shape (left, right), as 0-based syllables."""
    drawn = routing.draw(LANGUAGE, routing.Options(word="from", classes=classes), EVERY, place, split)
    return drawn.tokens_NL[:, 4].reshape(12, 12) - LANGUAGE.first_syllable


def test_an_example_is_a_pair_and_one_syllable() -> None:
    options = routing.Options(word="from", classes=3)
    row = routing.draw(LANGUAGE, options, np.array([15]), Place(0, "t", "s", "rule"), "train").tokens_NL[0].tolist()
    assert row[:4] == [3, LANGUAGE.first_syllable + 1, LANGUAGE.first_syllable + 3, EQUALS]
    assert row[5:] == [END, PADDING]


@each("classes", [2, 3, 4, 5, 12])
@each("seed", range(3))
def test_the_table_has_as_many_kinds_of_rows_and_columns_and_rank_as_classes(classes: int, seed: int) -> None:
    table = answers(classes, Place(seed, "t", "s", "rule"))
    rows, row_N = np.unique(table, axis=0, return_inverse=True)
    columns, column_N = np.unique(table, axis=1, return_inverse=True)
    assert len(np.unique(table)) == classes
    assert max(len(columns.T), len(rows)) <= classes  # two classes may be answered alike
    if len(rows) == len(columns.T) == classes:
        for of_N in (row_N, column_N):
            counts = np.bincount(of_N.reshape(-1))
            assert counts.max() - counts.min() <= 1
    one_hot = (table[..., None] == np.unique(table)).astype(float).reshape(12, -1)
    assert np.linalg.matrix_rank(one_hot) <= classes


def test_every_answer_stands_once_in_every_row_of_classes() -> None:
    world = routing.world(LANGUAGE, routing.Options(word="from", classes=4), Place(1, "t", "s", "rule"))
    assert (np.sort(world.answer_CC, axis=1) == np.sort(world.answer_CC[0])).all()
    assert len(np.unique(world.answer_CC[0])) == 4


def test_the_map_is_the_seeds_and_the_tasks_whatever_stage_and_split() -> None:
    table = answers(4, Place(0, "t", "s", "rule"))
    assert np.array_equal(table, answers(4, Place(0, "t", "other", "rule"), "test"))
    assert not np.array_equal(table, answers(4, Place(1, "t", "s", "rule")))
    assert not np.array_equal(table, answers(4, Place(0, "u", "s", "rule")))


def test_what_no_language_can_have_is_refused() -> None:
    check, options = GENERATORS["routing"].check, routing.Options(word="from", classes=13)
    assert "classes = 13 are more than the 12 syllables" in str(check(LANGUAGE, options, 9))
    assert "name_length = 1" in str(check(LANGUAGE._replace(name_length=1), options, 9))


@each(("label", "stage", "slice_name"), shipped.slices_of_generators("routing"))
def test_held_out_pairs_follow_from_trained_ones_through_the_classes_alone(
    label: str, stage: str, slice_name: str
) -> None:
    """Pairs of syllables in the same classes as a trained pair have its answer; the trained ones cover all classes."""
    task, splits = shipped.task(label), shipped.draw(label, stage)[slice_name]
    options = routing.Options.model_validate(shipped.slice_card(label, stage, slice_name).options)
    world = routing.world(task.language, options, Place(0, label, stage, slice_name))

    def classes(examples: object) -> list[tuple[int, int]]:
        left_N, right_N = task.language.spell(examples.item_N).T  # type: ignore[attr-defined]
        return list(zip(world.left_S[left_N].tolist(), world.right_S[right_N].tolist(), strict=True))

    known = dict(zip(classes(splits.train), splits.train.tokens_NL[:, 4].tolist(), strict=True))
    assert len(known) == options.classes**2
    assert [known[of] for of in classes(splits.test)] == splits.test.tokens_NL[:, 4].tolist()
