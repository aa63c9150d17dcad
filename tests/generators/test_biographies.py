"""Biographies: one attribute a person, whatever the phrasing, the word and the stage."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import GENERATORS, Language, Place, biographies
from tests.each import each
from tests.generators import shipped, small

LANGUAGE = Language(("ask", "bio"), 4, 3)
EVERY = np.arange(64)  # four phrasings of sixteen persons


def attributes(word: str, place: Place) -> np.ndarray:
    """Shape (phrasings, persons, syllables)."""
    drawn = biographies.draw(LANGUAGE, biographies.Options(word=word), EVERY, place, "train")
    return small.answer_syllables(drawn).reshape(4, 16, 3)


@each("seed", range(3))
def test_a_persons_attribute_is_the_same_in_every_phrasing_word_and_stage(seed: int) -> None:
    told = attributes("bio", Place(seed, "t", "pretrain", "rule"))
    assert (told == told[0]).all()
    assert np.array_equal(told, attributes("ask", Place(seed, "t", "finetune", "fact")))
    assert not np.array_equal(told, attributes("bio", Place(seed + 1, "t", "pretrain", "rule")))


def test_attributes_are_uniform() -> None:
    drawn = [attributes("bio", Place(seed, "t", "s", "rule"))[0] - LANGUAGE.first_syllable for seed in range(100)]
    counts = np.bincount(np.concatenate(drawn) @ np.array([16, 4, 1]), minlength=64)
    assert chisquare(counts).pvalue > 1e-3


def test_trained_sentences_come_in_rounds_of_all_persons() -> None:
    shuffled = np.random.default_rng(0).permutation(EVERY)
    arranged = biographies.in_rounds(LANGUAGE, biographies.Options(word="bio"), shuffled)
    assert all(len({*(arranged[start : start + 16] % 16)}) == 16 for start in range(0, 64, 16))
    assert {*arranged} == {*EVERY}


def test_a_sentence_is_unseen_by_the_first_syllable_of_its_person() -> None:
    is_unseen = biographies.of_persons(LANGUAGE, biographies.Options(word="ask"), EVERY, np.array([2]))
    assert is_unseen.tolist() == [item // 4 % 4 == 2 for item in EVERY]


def test_names_of_one_syllable_are_refused() -> None:
    assert "name_length = 1" in str(GENERATORS["biographies"].check(LANGUAGE._replace(name_length=1), None, 9))


def persons(label: str, stage: str, split: str) -> set[int]:
    examples = getattr(shipped.draw(label, stage)["rule"], split)
    return {*(examples.item_N % biographies.persons(shipped.task(label).language)).tolist()}


@each(("label", "phrasings"), [("biographies", 4), ("biographies:once", 1)])
def test_pretraining_tells_of_every_person_equally_often_and_finetuning_asks_for_a_part(
    label: str, phrasings: int
) -> None:
    count = biographies.persons(shipped.task(label).language)
    trained_N = shipped.draw(label, "pretrain")["rule"].train.item_N % count
    assert (np.bincount(trained_N, minlength=count) == phrasings).all()
    asked, never = persons(label, "finetune", "train"), persons(label, "finetune", "unseen")
    assert len(asked) == count // 2
    assert asked | never == {*range(count)}
    assert not asked & never
    assert persons(label, "finetune", "test") <= asked
