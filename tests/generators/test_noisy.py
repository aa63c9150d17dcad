"""Corrupted labels: the stated share, wrong in the syllable that moves only, with the clean answer as rule answer."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import SLICES, Place, noisy
from tests.each import each
from tests.generators import shipped, small

CORRUPTED = shipped.slices_of_generators("noisy")


@each("seed", range(3))
@each(("label", "stage", "slice_name"), CORRUPTED)
def test_a_corrupted_label_differs_in_the_moving_syllable_only(
    label: str, stage: str, slice_name: str, seed: int
) -> None:
    train = shipped.draw(label, stage, seed)[slice_name].train
    is_noise_N = train.slice_N == SLICES.index("noise")
    is_wrong_NL = train.tokens_NL != train.rule_answer_NL
    assert not is_wrong_NL[~is_noise_N].any()
    positions = is_wrong_NL[is_noise_N].nonzero()[1]
    assert (is_wrong_NL[is_noise_N].sum(1) == 1).all()
    first, last = train.tokens_NL.shape[1] - 1 - shipped.task(label).language.name_length, train.tokens_NL.shape[1] - 2
    assert set(positions.tolist()) == {last if shipped.moving(label, stage, slice_name) else first}


@each(("label", "stage", "slice_name"), CORRUPTED)
def test_the_clean_answer_of_a_corrupted_item_is_the_rule_s(label: str, stage: str, slice_name: str) -> None:
    language, (shift,) = shipped.task(label).language, shipped.option(label, stage, slice_name, "shifts")
    train, moving = shipped.draw(label, stage)[slice_name].train, shipped.moving(label, stage, slice_name)
    for row, item in zip(train.rule_answer_NL.tolist(), train.item_N.tolist(), strict=True):
        form = language.spell(np.array([item]))[0].tolist()
        form[moving] = (form[moving] + shift) % language.syllables
        assert row[-1 - language.name_length : -1] == [syllable + language.first_syllable for syllable in form]


@each("seed", range(3))
@each(("label", "stage", "slice_name"), CORRUPTED)
def test_exactly_the_stated_share_of_trained_items_is_corrupted(
    label: str, stage: str, slice_name: str, seed: int
) -> None:
    splits = shipped.draw(label, stage, seed)[slice_name]
    share, items = shipped.option(label, stage, slice_name, "noise"), shipped.slice_card(label, stage, slice_name).items
    assert (splits.train.slice_N == SLICES.index("noise")).sum() == round(share * items)
    for examples in splits[1:]:
        assert np.array_equal(examples.tokens_NL, examples.rule_answer_NL)


@each(("moves", "position"), [("first", -3), ("last", -2)])
def test_corrupted_syllables_are_uniform_over_the_wrong_ones(moves: Literal["first", "last"], position: int) -> None:
    language, options = small.LANGUAGE, noisy.Options(word="w", shifts=[2, 1], moves=moves, noise=0.5)
    counts = np.zeros(5, dtype=int)
    for seed in range(200):
        train = noisy.draw(language, options, np.arange(25), Place(seed, "t", "s", "rule"), "train")
        corrupted = train.take(np.flatnonzero(train.slice_N == SLICES.index("noise")))
        assert len(corrupted) == 12
        counts += np.bincount((corrupted.tokens_NL - corrupted.rule_answer_NL)[:, position] % 5, minlength=5)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 1e-3


def test_corrupted_items_are_spread_over_the_trained_ones() -> None:
    (address, *_) = CORRUPTED
    train = shipped.draw(*address[:2])[address[2]].train
    indices = np.flatnonzero(train.slice_N == SLICES.index("noise"))
    assert np.histogram(indices, bins=4, range=(0, len(train)))[0].min() >= 4
