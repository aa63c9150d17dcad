"""Lengths, exposures, entropy and chance are as stated, for every generator that registers and every task that is shipped.

Shapes: N examples, L tokens, K models, S answer tokens.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from synthbench.cards import ModelCard
from synthbench.generators import GENERATORS, Place
from synthbench.generators.examples import END, EQUALS, PADDING
from synthbench.generators.floors import copied
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from tests.each import each
from tests.generators import shipped, small

INFLECTED = shipped.of_generator("inflection", "wugs", "noisy")
COUNT = 8192  # examples that are counted


def noted(label: str, stage: str, part: str) -> bool:
    return bool(shipped.card_of(label, stage, part).note.strip())


@each(("label", "stage"), shipped.STAGES)
def test_examples_of_a_stage_are_equally_long_and_so_are_answers_or_the_card_says_why(label: str, stage: str) -> None:
    drawn = shipped.drawn(label, stage)
    everything = [e for part in drawn for e in drawn[part] if len(e)]
    assert {e.tokens_NL.shape[1] for e in everything} == {shipped.task(label).language.length}
    compared = [e for part in drawn for e in drawn[part] if len(e) and not noted(label, stage, part)]
    assert len({row.tobytes() for e in compared for row in np.unique(e.answer_NL, axis=0)}) <= 1


@each(("label", "stage"), shipped.STAGES)
def test_items_of_a_stage_are_seen_equally_often_or_the_card_says_why(label: str, stage: str) -> None:
    """Exposures of an item in a step, from its slice's share of the batch and its own share of an epoch."""
    exposures: list[float] = []
    for part, splits in shipped.drawn(label, stage).items():
        if not noted(label, stage, part):
            repeats_N = splits.train.repeats_N.astype(float)
            exposures.extend(shipped.card_of(label, stage, part).share * repeats_N / repeats_N.sum())
    assert exposures == pytest.approx(exposures[:1] * len(exposures), rel=1e-9)


@each(("label", "stage", "part"), shipped.SLICES)
def test_an_example_is_a_prompt_an_answer_with_its_end_and_padding_behind_it(label: str, stage: str, part: str) -> None:
    language = shipped.task(label).language
    for examples in shipped.drawn(label, stage)[part]:
        for answer_L in np.unique(examples.answer_NL, axis=0):
            tokens_NL = examples.tokens_NL[(examples.answer_NL == answer_L).all(1)]
            (places,) = answer_L.nonzero()
            first, last = int(places[0]), int(places[-1])
            assert (np.diff(places) == 1).all()
            assert (np.argwhere(tokens_NL == EQUALS)[:, 1] == first - 1).all()
            assert (np.argwhere(tokens_NL == END)[:, 1] == last).all()
            assert ((tokens_NL == EQUALS).sum(1) == 1).all()
            assert ((tokens_NL == END).sum(1) == 1).all()
            assert (tokens_NL[:, last + 1 :] == PADDING).all()
            assert (tokens_NL[:, :last] != PADDING).all()
            assert tokens_NL.max() < language.vocabulary
            assert (tokens_NL[:, first:last] >= language.first_syllable).all()


def test_every_registered_generator_has_a_small_task() -> None:
    assert small.OPTIONS.keys() == GENERATORS.keys()
    assert {shipped.card_of(*where).generator for where in shipped.SLICES} == GENERATORS.keys()


@each("generator", GENERATORS)
def test_the_entropy_of_answers_by_counting_is_the_stated_bits(generator: str) -> None:
    examples = small.drawn(generator, np.arange(COUNT) % small.LANGUAGE.names, Place(0, "t", "s", "rule"))
    _, counts = np.unique(small.answers(examples), axis=0, return_counts=True)
    share = counts / counts.sum()
    # counting N draws of m values falls short by (m - 1) / (2 N ln 2) = 0.002 bits on average
    assert -(share * np.log2(share)).sum() == pytest.approx(examples.bits_N[0], abs=0.005)
    assert (examples.bits_N == examples.bits_N[0]).all()


@each(("label", "stage", "part"), shipped.SLICES)
def test_chance_is_that_of_a_uniform_answer_of_its_length_and_its_bits_say_the_same(
    label: str, stage: str, part: str
) -> None:
    syllables = shipped.task(label).language.syllables
    for examples in shipped.drawn(label, stage)[part]:
        length_N = examples.answer_NL.sum(1) - 1
        np.testing.assert_allclose(examples.chance_N, 1 / syllables ** length_N.astype(float), rtol=1e-6)
        np.testing.assert_allclose(examples.bits_N, -np.log2(examples.chance_N), rtol=1e-6)


@each("generator", GENERATORS)
def test_an_untrained_model_is_right_among_well_formed_answers_as_often_as_the_stated_chance(generator: str) -> None:
    """256 models, each asked every item of its own seed; they say the likeliest syllable at each place. A model says
    almost the same to every prompt, so its items are no independent draws: models are."""
    models, model = 256, ModelCard(width=8, layers=1, head_width=8)
    language, item_N = small.LANGUAGE, np.arange(small.LANGUAGE.names)
    every = [small.drawn(generator, item_N, Place(seed, "t", "s", "rule")) for seed in range(models)]
    start, size = int(every[0].answer_NL[0].argmax()), small.answers(every[0]).shape[1]
    layout = layouts.transformer(model, language.vocabulary, language.length - 1)
    fleet = Fleet(model, layout, initialize(layout, model, range(models), torch.device("cpu")))
    tokens_KNL = torch.from_numpy(np.stack([examples.tokens_NL for examples in every])).long()
    with torch.no_grad():
        logits_KNSV = fleet.logits(tokens_KNL[..., :-1], start - 1)[:, :, :size, language.first_syllable :]
    said_KNS = logits_KNSV.argmax(-1) + language.first_syllable
    right_K = (said_KNS == tokens_KNL[..., start : start + size]).all(-1).double().mean(1).numpy()
    chance = np.mean([examples.chance_N.mean() for examples in every])
    assert chance == pytest.approx(1 / language.syllables**size)
    assert right_K.std() > 0
    assert abs(right_K.mean() - chance) < 4 * right_K.std() / sqrt(models) < 0.5 * chance


@each(("label", "stage", "part"), INFLECTED)
def test_copying_the_prompt_never_answers_the_rule(label: str, stage: str, part: str) -> None:
    assert all(copied(examples) == 0 for examples in shipped.drawn(label, stage)[part][1:] if len(examples))
