"""Wugs: exceptions stand inside the first class alone, are never regular, and are as many and seen as often as stated.

Shapes: N examples, E exceptions.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import SLICES, Examples, Language, Place, inflection, wugs
from tests.each import each
from tests.generators import shipped, small

IRREGULAR = shipped.of_generator("wugs")


def exceptions(examples: Examples) -> Examples:
    return examples.take(np.flatnonzero(examples.slice_N == SLICES.index("exception")))


@each("seed", range(3))
@each(("percent", "repeats"), product((1, 5, 20), (1, 4)))
def test_a_variant_has_the_share_of_exceptions_and_the_repeats_of_its_name(
    percent: int, repeats: int, seed: int
) -> None:
    items = shipped.card_of("wugs", "finetune", "rule").items
    count = percent * items // 100
    train = shipped.drawn(f"wugs:{percent}-{repeats}x", "finetune", seed)["rule"].train
    found = exceptions(train)
    assert (len(train), len(found)) == (items, count)
    assert count >= 1
    assert set(found.repeats_N.tolist()) == {repeats}
    assert train.repeats_N.sum() == items - count + count * repeats


@each("seed", range(3))
@each(("label", "stage", "part"), IRREGULAR)
def test_exceptions_are_verbs_of_the_first_class_that_stays_regular_for_the_rest(
    label: str, stage: str, part: str, seed: int
) -> None:
    task, shifts = shipped.task(label), shipped.option(label, stage, part, "shifts")
    train = shipped.drawn(label, stage, seed)[part].train
    syllables = task.language.syllables
    is_first_N = (train.item_N % syllables) * len(shifts) < syllables  # the first half of the syllables, of two classes
    is_exception_N = train.slice_N == SLICES.index("exception")
    assert is_first_N[is_exception_N].all()
    regular = (is_first_N & ~is_exception_N).sum()
    assert regular >= is_first_N.sum() / 4
    assert (train.slice_N[~is_exception_N] == SLICES.index("rule")).all()


@each("seed", range(3))
@each(("label", "stage", "part"), IRREGULAR)
def test_an_exception_never_has_the_regular_form_and_a_regular_verb_always(
    label: str, stage: str, part: str, seed: int
) -> None:
    language, shifts = shipped.task(label).language, shipped.option(label, stage, part, "shifts")
    train = shipped.drawn(label, stage, seed)[part].train
    stem_NS = language.spell(train.item_N)
    shift_N = np.array(shifts)[stem_NS[:, -1] * len(shifts) // language.syllables]
    regular_NS = np.column_stack([stem_NS[:, :-1], (stem_NS[:, -1] + shift_N) % language.syllables])
    start = language.name_length + 2
    form_NS = train.tokens_NL[:, start:-1] - language.first_syllable
    by_rule_NS = train.rule_answer_NL[:, start:-1] - language.first_syllable
    is_regular_N = (form_NS == regular_NS).all(1)
    assert np.array_equal(is_regular_N, train.slice_N == SLICES.index("rule"))
    assert np.array_equal(by_rule_NS, regular_NS)
    assert ((form_NS >= 0) & (form_NS < language.syllables)).all()


def test_forms_of_exceptions_are_uniform_over_all_names_but_the_regular_one() -> None:
    """How far a form is from the regular one, by number, is any of 1 ... 24 equally often."""
    language, names = small.LANGUAGE, small.LANGUAGE.names
    options = wugs.Options(word="w", shifts=[2], exceptions=0.5)
    found = np.zeros(names, dtype=int)
    for seed in range(200):
        train = wugs.draw(language, options, np.arange(names), Place(seed, "t", "s", "rule"), "train")
        irregular = exceptions(train)
        assert len(irregular) == 12
        number = [(tokens[:, 4:6] - language.first_syllable) @ [5, 1]
                  for tokens in (irregular.tokens_NL, irregular.rule_answer_NL)]  # fmt: skip
        found += np.bincount((number[0] - number[1]) % names, minlength=names)
    assert found[0] == 0
    assert chisquare(found[1:]).pvalue > 1e-3


def test_exceptions_are_spread_over_the_trained_verbs() -> None:
    """Not all in one place of the order: a small share would all end in the same syllables."""
    train = shipped.drawn("wugs:20-1x", "finetune")["rule"].train
    places = np.flatnonzero(train.slice_N == SLICES.index("exception"))
    assert np.histogram(places, bins=4, range=(0, len(train)))[0].min() >= len(places) / 8


@each(("items", "share", "count"), [(100, 0.29, 29), (10, 0.3, 3), (7, 0.5, 3), (3, 0.33, 0), (100, 0.01, 1)])
def test_a_share_of_items_is_rounded_down_but_not_below_what_was_meant(items: int, share: float, count: int) -> None:
    assert wugs.share_of(items, share) == count


@each("unseen", range(4))
@each("shifts", [[2], [2, 1], [1, 2, 3]])
def test_so_many_verbs_are_in_the_first_class_whatever_is_held_out(shifts: list[int], unseen: int) -> None:
    """The bound holds for 30 seeds at every size that leaves a whole class to choose from."""
    language, options = Language(("w",), 7, 2), wugs.Options(word="w", shifts=shifts, exceptions=0.1, unseen=unseen)
    for items in range(1, 4 * (7 - unseen)):
        for seed in range(30):
            generator = np.random.default_rng([seed, items])
            names = generator.permutation(language.names)
            names = names[~inflection.ends_in(language, names, generator.permutation(7)[:unseen])]
            stem_NS = language.spell(inflection.balanced(language, names)[:items])
            in_first = (inflection.classes(stem_NS, len(shifts), 7) == 0).sum()
            assert in_first >= wugs.in_first_class(language, options, items)
