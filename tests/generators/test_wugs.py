"""Wugs: exceptions are in the first class only, always irregular, and have the stated share and repeats.

Shapes: N examples, E exceptions.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import SLICES, Examples, Language, Place, inflection, wugs
from tests.each import each
from tests.generators import shipped, small

IRREGULAR = shipped.slices_of_generators("wugs")


def exceptions(examples: Examples) -> Examples:
    return examples.take(np.flatnonzero(examples.slice_N == SLICES.index("exception")))


@each("seed", range(3))
@each("variant", shipped.task("wugs").card.variants)
def test_a_variant_has_the_exceptions_and_repeats_of_its_name(variant: str, seed: int) -> None:
    percent, repeats = map(int, variant.removesuffix("x").split("-"))
    items = shipped.slice_card("wugs", "finetune", "rule").items
    count = percent * items // 100
    train = shipped.draw(f"wugs:{variant}", "finetune", seed)["rule"].train
    irregular = exceptions(train)
    assert (len(train), len(irregular)) == (items, count)
    assert count >= 1
    assert set(irregular.repeats_N.tolist()) == {repeats}
    assert train.repeats_N.sum() == items - count + count * repeats


@each("seed", range(3))
@each(("label", "stage", "slice_name"), IRREGULAR)
def test_exceptions_belong_to_the_first_class_which_stays_mostly_regular(
    label: str, stage: str, slice_name: str, seed: int
) -> None:
    task, shifts = shipped.task(label), shipped.option(label, stage, slice_name, "shifts")
    train = shipped.draw(label, stage, seed)[slice_name].train
    syllables = task.language.syllables
    moving_N = task.language.spell(train.item_N)[:, shipped.moving(label, stage, slice_name)]
    is_first_N = moving_N * len(shifts) < syllables  # of two classes
    is_exception_N = train.slice_N == SLICES.index("exception")
    assert is_first_N[is_exception_N].all()
    regular = (is_first_N & ~is_exception_N).sum()
    assert regular >= is_first_N.sum() / 4
    assert (train.slice_N[~is_exception_N] == SLICES.index("rule")).all()


@each("seed", range(3))
@each(("label", "stage", "slice_name"), IRREGULAR)
def test_exceptions_are_irregular_and_all_other_verbs_regular(
    label: str, stage: str, slice_name: str, seed: int
) -> None:
    language, shifts = shipped.task(label).language, shipped.option(label, stage, slice_name, "shifts")
    moving = shipped.moving(label, stage, slice_name)
    train = shipped.draw(label, stage, seed)[slice_name].train
    stem_NS = language.spell(train.item_N)
    shift_N = np.array(shifts)[stem_NS[:, moving] * len(shifts) // language.syllables]
    regular_NS = stem_NS.copy()
    regular_NS[:, moving] = (stem_NS[:, moving] + shift_N) % language.syllables
    start = language.name_length + 2
    form_NS = train.tokens_NL[:, start:-1] - language.first_syllable
    by_rule_NS = train.rule_answer_NL[:, start:-1] - language.first_syllable
    is_regular_N = (form_NS == regular_NS).all(1)
    assert np.array_equal(is_regular_N, train.slice_N == SLICES.index("rule"))
    assert np.array_equal(by_rule_NS, regular_NS)
    assert ((form_NS >= 0) & (form_NS < language.syllables)).all()


def test_forms_of_exceptions_are_uniform_over_all_irregular_names() -> None:
    """The difference of their numbers, modulo the number of names, is uniform over 1 to 24."""
    language, names = small.LANGUAGE, small.LANGUAGE.names
    options = wugs.Options(word="w", shifts=[2], exceptions=0.5)
    counts = np.zeros(names, dtype=int)
    for seed in range(200):
        train = wugs.draw(language, options, np.arange(names), Place(seed, "t", "s", "rule"), "train")
        irregular = exceptions(train)
        assert len(irregular) == 12
        number = [(tokens[:, 4:6] - language.first_syllable) @ [5, 1]
                  for tokens in (irregular.tokens_NL, irregular.rule_answer_NL)]  # fmt: skip
        counts += np.bincount((number[0] - number[1]) % names, minlength=names)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 1e-3


def test_exceptions_are_spread_over_the_trained_verbs() -> None:
    """Contiguous exceptions would all have the same syllables where the rule moves them."""
    train = shipped.draw("wugs:20-1x", "finetune")["rule"].train
    indices = np.flatnonzero(train.slice_N == SLICES.index("exception"))
    assert np.histogram(indices, bins=4, range=(0, len(train)))[0].min() >= len(indices) / 8


@each(("items", "share", "count"), [(100, 0.29, 29), (10, 0.3, 3), (7, 0.5, 3), (3, 0.33, 0), (100, 0.01, 1)])
def test_a_share_of_items_is_rounded_down_with_a_tolerance(items: int, share: float, count: int) -> None:
    assert wugs.share_of(items, share) == count


@each("unseen", range(4))
@each("shifts", [[2], [2, 1], [1, 2, 3]])
def test_the_first_class_has_the_stated_minimum_of_verbs(shifts: list[int], unseen: int) -> None:
    """Tests the minimum for 30 seeds at every number of items."""
    language, options = Language(("w",), 7, 2), wugs.Options(word="w", shifts=shifts, exceptions=0.1, unseen=unseen)
    for items in range(1, 4 * (7 - unseen)):
        for seed in range(30):
            generator = np.random.default_rng([seed, items])
            names = generator.permutation(language.names)
            names = names[~inflection.has_part(language, options, names, generator.permutation(7)[:unseen])]
            stem_NS = language.spell(inflection.balanced(language, options, names)[:items])
            in_first = (inflection.classes(stem_NS[:, -1], len(shifts), 7) == 0).sum()
            assert in_first >= wugs.in_first_class(language, options, items)
