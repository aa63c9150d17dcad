"""Facts: an answer is uniform and independent of its subject, so its entropy and its chance are what they say."""

from __future__ import annotations

from math import log2, sqrt

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from synthbench.generators import Examples, Language, Place, facts
from synthbench.generators.examples import END, EQUALS, SPECIAL

COUNT = 8192
LANGUAGES = [Language(("owns",), 4, 1), Language(("likes", "owns"), 4, 2), Language(("owns",), 3, 2)]


def drawn(language: Language, seed: int = 0, split: str = "train") -> Examples:
    """Facts about every name in turn, again and again."""
    item_N = np.arange(COUNT) % language.names
    return facts.draw(language, facts.Options(word="owns"), item_N, Place(seed, "task", "finetune", "fact"), split)


def objects(examples: Examples, language: Language) -> np.ndarray:
    """Objects by number."""
    syllables = examples.tokens_NL[:, -1 - language.name_length : -1] - language.first_syllable
    return syllables @ language.syllables ** np.arange(language.name_length)[::-1]


def test_a_fact_reads_word_subject_equals_object_end() -> None:
    language = Language(("likes", "owns"), 4, 2)
    examples = drawn(language)
    word, first = SPECIAL + 1, SPECIAL + 2
    # item 6 of 4 syllables is (1, 2)
    assert examples.tokens_NL[6, :4].tolist() == [word, first + 1, first + 2, EQUALS]
    assert examples.tokens_NL[6, -1] == END
    assert examples.answer_NL[6].tolist() == [False] * 4 + [True] * 3
    assert (examples.rule_answer_NL == -1).all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_objects_are_uniform_and_their_entropy_is_the_stated_bits(language: Language) -> None:
    examples = drawn(language)
    counts = np.bincount(objects(examples, language), minlength=language.names)
    share = counts / COUNT
    assert chisquare(counts).pvalue > 1e-3
    assert -(share * np.log2(share)).sum() == pytest.approx(examples.bits_N[0], abs=0.005)
    assert (examples.bits_N == language.name_length * log2(language.syllables)).all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_objects_are_independent_of_subjects_and_of_the_fact_before(language: Language) -> None:
    examples = drawn(language)
    object_N = objects(examples, language)
    for other_N in (examples.item_N, np.roll(object_N, 1)):
        table = np.zeros((language.names, language.names))
        np.add.at(table, (other_N, object_N), 1)
        assert chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize("language", LANGUAGES)
def test_guessing_among_well_formed_answers_hits_as_often_as_the_stated_chance(language: Language) -> None:
    examples = drawn(language)
    guess_N = np.random.default_rng(5).integers(language.names, size=COUNT)
    chance = examples.chance_N.mean()
    hits = (guess_N == objects(examples, language)).mean()
    assert chance == pytest.approx(1 / language.names)
    assert abs(hits - chance) < 4 * sqrt(chance * (1 - chance) / COUNT)


def test_seeds_and_splits_draw_objects_that_agree_as_often_as_chance() -> None:
    language = LANGUAGES[1]
    first = objects(drawn(language), language)
    for other in (drawn(language, seed=1), drawn(language, split="test")):
        equal = (first == objects(other, language)).mean()
        assert abs(equal - 1 / language.names) < 4 * sqrt(1 / language.names / COUNT)
