"""Lengths, exposures, entropy and chance of examples, for every registered generator and every shipped task.

Shapes: N examples, L tokens, K models, S answer tokens.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from synthbench.cards import ModelCard
from synthbench.generators import GENERATORS, Place, join
from synthbench.generators.examples import END, EQUALS, PADDING
from synthbench.generators.floors import copied
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from tests.each import each
from tests.generators import shipped, small

INFLECTED = shipped.slices_of_generators("inflection", "wugs", "noisy")
COUNT = 8192  # number of examples for entropy estimates


def has_note(label: str, stage: str, slice_name: str) -> bool:
    return bool(shipped.slice_card(label, stage, slice_name).note.strip())


@each(("label", "stage"), shipped.STAGES)
def test_examples_of_a_stage_have_one_length_and_answers_too_unless_the_card_has_a_note(label: str, stage: str) -> None:
    drawn = shipped.draw(label, stage)
    all_examples = [examples for slice_name in drawn for examples in drawn[slice_name] if len(examples)]
    assert {examples.tokens_NL.shape[1] for examples in all_examples} == {shipped.task(label).language.length}
    without_note = [
        examples
        for slice_name in drawn
        for examples in drawn[slice_name]
        if len(examples) and not has_note(label, stage, slice_name)
    ]
    assert len({row.tobytes() for examples in without_note for row in np.unique(examples.answer_NL, axis=0)}) <= 1


@each(("label", "stage"), shipped.STAGES)
def test_items_of_a_stage_have_equal_exposures_unless_the_card_has_a_note(label: str, stage: str) -> None:
    """An item's exposures per step are its slice's share of the batch times its share of an epoch."""
    exposures: list[float] = []
    for slice_name, splits in shipped.draw(label, stage).items():
        if not has_note(label, stage, slice_name):
            repeats_N = splits.train.repeats_N.astype(float)
            exposures.extend(shipped.slice_card(label, stage, slice_name).share * repeats_N / repeats_N.sum())
    assert exposures == pytest.approx(exposures[:1] * len(exposures), rel=1e-9)


@each(("label", "stage", "slice_name"), shipped.SLICES)
def test_an_example_is_prompt_answer_end_and_padding(label: str, stage: str, slice_name: str) -> None:
    language = shipped.task(label).language
    for examples in shipped.draw(label, stage)[slice_name]:
        for answer_L in np.unique(examples.answer_NL, axis=0):
            tokens_NL = examples.tokens_NL[(examples.answer_NL == answer_L).all(1)]
            (positions,) = answer_L.nonzero()
            first, last = int(positions[0]), int(positions[-1])
            assert (np.diff(positions) == 1).all()
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
    assert {shipped.slice_card(*address).generator for address in shipped.SLICES} == GENERATORS.keys()


@each("generator", GENERATORS)
def test_the_counted_entropy_of_answers_equals_the_stated_bits(generator: str) -> None:
    every = [np.random.default_rng(seed).permutation(small.LANGUAGE.names) for seed in range(COUNT // 4)]
    places = [Place(seed, "t", "s", "rule") for seed in range(COUNT // 4)]  # where a seed's answers are few
    examples = join({str(place.seed): small.draw(generator, every[place.seed], place) for place in places})
    _, counts = np.unique(small.answer_syllables(examples), axis=0, return_counts=True)
    share = counts / counts.sum()
    # the estimate from N draws of m values is too low by (m - 1) / (2 N ln 2) = 0.002 bits on average, where N >= 5 * 2048
    assert -(share * np.log2(share)).sum() == pytest.approx(examples.bits_N[0], abs=0.005)
    assert (examples.bits_N == examples.bits_N[0]).all()


@each(("label", "stage", "slice_name"), shipped.SLICES)
def test_chance_is_that_of_a_uniform_answer_and_agrees_with_the_bits(label: str, stage: str, slice_name: str) -> None:
    syllables = shipped.task(label).language.syllables
    for examples in shipped.draw(label, stage)[slice_name]:
        length_N = examples.answer_NL.sum(1) - 1
        np.testing.assert_allclose(examples.chance_N, 1 / syllables ** length_N.astype(float), rtol=1e-6)
        np.testing.assert_allclose(examples.bits_N, -np.log2(examples.chance_N), rtol=1e-6)


@each("generator", GENERATORS)
def test_an_untrained_model_has_the_stated_chance_among_well_formed_answers(generator: str) -> None:
    """Evaluates 256 models, each on all items of its seed, with the most likely syllable at each position. A model answers
    almost all prompts alike, so models are the independent samples, not items."""
    models, model = 256, ModelCard(width=8, layers=1, head_width=8)
    language, item_N = small.LANGUAGE, np.arange(small.LANGUAGE.names)
    examples_of_models = [small.draw(generator, item_N, Place(seed, "t", "s", "rule")) for seed in range(models)]
    first, *_ = examples_of_models
    start, size = int(first.answer_NL[0].argmax()), small.answer_syllables(first).shape[1]
    layout = layouts.transformer(model, language.vocabulary, language.length - 1)
    fleet = Fleet(model, layout, initialize(layout, model, range(models), torch.device("cpu")))
    tokens_KNL = torch.from_numpy(np.stack([examples.tokens_NL for examples in examples_of_models])).long()
    with torch.no_grad():
        logits_KNSV = fleet.logits(tokens_KNL[..., :-1], start - 1)[:, :, :size, language.first_syllable :]
    predicted_KNS = logits_KNSV.argmax(-1) + language.first_syllable
    accuracy_K = (predicted_KNS == tokens_KNL[..., start : start + size]).all(-1).double().mean(1).numpy()
    chance = np.mean([examples.chance_N.mean() for examples in examples_of_models])
    assert chance == pytest.approx(1 / language.syllables**size)
    assert accuracy_K.std() > 0
    assert abs(accuracy_K.mean() - chance) < 4 * accuracy_K.std() / sqrt(models) < 0.5 * chance


@each(("label", "stage", "slice_name"), INFLECTED)
def test_copying_the_prompt_never_gives_the_rule_s_answer(label: str, stage: str, slice_name: str) -> None:
    assert all(copied(examples) == 0 for examples in shipped.draw(label, stage)[slice_name][1:] if len(examples))
