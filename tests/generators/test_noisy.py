"""Corrupted labels: wrong in the last syllable alone, as many as stated, with the clean answer beside them."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import SLICES, Place, noisy
from tests.each import each
from tests.generators import shipped, small

CORRUPTED = shipped.of_generator("noisy")


@each("seed", range(3))
@each(("label", "stage", "part"), CORRUPTED)
def test_a_corrupted_label_differs_from_the_clean_one_in_its_last_syllable_alone(
    label: str, stage: str, part: str, seed: int
) -> None:
    train = shipped.drawn(label, stage, seed)[part].train
    is_noise_N = train.slice_N == SLICES.index("noise")
    is_wrong_NL = train.tokens_NL != train.rule_answer_NL
    assert not is_wrong_NL[~is_noise_N].any()
    places = is_wrong_NL[is_noise_N].nonzero()[1]
    assert (is_wrong_NL[is_noise_N].sum(1) == 1).all()
    assert set(places.tolist()) == {train.tokens_NL.shape[1] - 2}


@each(("label", "stage", "part"), CORRUPTED)
def test_the_clean_answer_beside_a_corrupted_one_is_the_rules(label: str, stage: str, part: str) -> None:
    language, (shift,) = shipped.task(label).language, shipped.option(label, stage, part, "shifts")
    train = shipped.drawn(label, stage)[part].train
    for row, item in zip(train.rule_answer_NL.tolist(), train.item_N.tolist(), strict=True):
        *before, last = language.spell(np.array([item]))[0].tolist()
        form = [*before, (last + shift) % language.syllables]
        assert row[-1 - language.name_length : -1] == [syllable + language.first_syllable for syllable in form]


@each("seed", range(3))
@each(("label", "stage", "part"), CORRUPTED)
def test_exactly_the_stated_share_is_corrupted_and_none_of_what_is_held_out(
    label: str, stage: str, part: str, seed: int
) -> None:
    splits = shipped.drawn(label, stage, seed)[part]
    share, items = shipped.option(label, stage, part, "noise"), shipped.card_of(label, stage, part).items
    assert (splits.train.slice_N == SLICES.index("noise")).sum() == round(share * items)
    for examples in splits[1:]:
        assert np.array_equal(examples.tokens_NL, examples.rule_answer_NL)


def test_corrupted_syllables_are_uniform_over_all_but_the_right_one() -> None:
    language, options = small.LANGUAGE, noisy.Options(word="w", shifts=[2, 1], noise=0.5)
    found = np.zeros(5, dtype=int)
    for seed in range(200):
        train = noisy.draw(language, options, np.arange(25), Place(seed, "t", "s", "rule"), "train")
        wrong = train.take(np.flatnonzero(train.slice_N == SLICES.index("noise")))
        assert len(wrong) == 12
        found += np.bincount((wrong.tokens_NL - wrong.rule_answer_NL)[:, -2] % 5, minlength=5)
    assert found[0] == 0
    assert chisquare(found[1:]).pvalue > 1e-3


def test_corrupted_items_are_spread_over_the_trained_ones() -> None:
    (where, *_) = CORRUPTED
    train = shipped.drawn(*where[:2])[where[2]].train
    places = np.flatnonzero(train.slice_N == SLICES.index("noise"))
    assert np.histogram(places, bins=4, range=(0, len(train)))[0].min() >= 4
