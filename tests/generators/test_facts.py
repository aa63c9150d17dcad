"""Facts: answers are uniform and independent of their subjects, with the stated entropy and chance."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from synthbench.generators import BUCKETS, Examples, Language, Place, facts
from synthbench.generators.examples import END, EQUALS, SPECIAL
from synthbench.trainer.loop import order
from tests.each import each
from tests.generators import shipped

COUNT = 8192
LANGUAGES = [Language(("owns",), 4, 1), Language(("likes", "owns"), 4, 2), Language(("owns",), 3, 2)]


def draw(language: Language) -> Examples:
    """Facts about all names, repeated in order."""
    item_N = np.arange(COUNT) % language.names
    return facts.draw(language, facts.Options(word="owns"), item_N, Place(0, "task", "finetune", "fact"), "train")


def objects(examples: Examples, language: Language) -> np.ndarray:
    """Objects as numbers, shape (N,)."""
    syllables = examples.tokens_NL[:, -1 - language.name_length : -1] - language.first_syllable
    return syllables @ language.syllables ** np.arange(language.name_length)[::-1]


def test_a_fact_reads_word_subject_equals_object_end() -> None:
    language = Language(("likes", "owns"), 4, 2)
    examples = draw(language)
    word, first = SPECIAL + 1, SPECIAL + 2
    # item 6 of 4 syllables is (1, 2)
    assert examples.tokens_NL[6, :4].tolist() == [word, first + 1, first + 2, EQUALS]
    assert examples.tokens_NL[6, -1] == END
    assert examples.answer_NL[6].tolist() == [False] * 4 + [True] * 3
    assert (examples.rule_answer_NL == -1).all()


@each("language", LANGUAGES)
def test_objects_are_uniform_and_their_entropy_is_the_stated_bits(language: Language) -> None:
    examples = draw(language)
    counts = np.bincount(objects(examples, language), minlength=language.names)
    share = counts / COUNT
    assert chisquare(counts).pvalue > 1e-3
    assert -(share * np.log2(share)).sum() == pytest.approx(examples.bits_N[0], abs=0.005)
    assert (examples.bits_N == language.name_length * log2(language.syllables)).all()


@each("language", LANGUAGES)
def test_objects_are_independent_of_subjects_and_of_the_fact_before(language: Language) -> None:
    examples = draw(language)
    object_N = objects(examples, language)
    for other_N in (examples.item_N, np.roll(object_N, 1)):
        table = np.zeros((language.names, language.names))
        np.add.at(table, (other_N, object_N), 1)
        assert chi2_contingency(table).pvalue > 1e-3


@each("groups", range(2, 7))
def test_each_group_has_twice_as_many_facts_with_half_the_repeats(groups: int) -> None:
    cycle_length = 2**groups - 1
    for cycles in (1, 3):
        item_N, options = np.arange(cycles * cycle_length), facts.Options(word="owns", groups=groups)
        examples = facts.draw(Language(("owns",), 8, 3), options, item_N, Place(0, "t", "s", "fact"), "train")
        repeats, counts = np.unique(examples.repeats_N, return_counts=True)
        assert repeats.tolist() == [2**g for g in range(groups)]  # from the tail to the head
        assert counts.tolist() == [cycles * 2 ** (groups - 1 - g) for g in range(groups)]
        assert len(set(repeats * counts)) == 1


def test_the_cycle_of_three_groups_spreads_head_and_middle() -> None:
    # the head at 1/2; the middle at 1/4, 3/4; the tail at 1/8, 3/8, 5/8, 7/8
    assert facts.cycle(3).tolist() == [2, 1, 2, 0, 2, 1, 2]


def grouped_slices() -> list[tuple[str, str, str]]:
    return [
        address
        for address in shipped.slices_of_generators("facts")
        if shipped.slice_card(*address).options.get("groups", 1) > 1
    ]


@each(("label", "stage", "slice_name"), grouped_slices())
def test_head_and_tail_are_the_facts_with_most_and_fewest_exposures(label: str, stage: str, slice_name: str) -> None:
    """Counts exposures in the order of training."""
    train, groups = shipped.draw(label, stage)[slice_name].train, shipped.option(label, stage, slice_name, "groups")
    epoch = int(train.repeats_N.sum())
    order_TB = order({"fact": (train.repeats_N, epoch // 4)}, 3 * 4, np.random.default_rng(0))
    exposures_N = np.bincount(order_TB.reshape(-1))
    assert exposures_N.sum() == 3 * epoch
    buckets = {name: exposures_N[train.bucket_N == index] for index, name in enumerate(BUCKETS)}
    assert len(buckets["all"]) == 0
    assert set(buckets["head"]) == {3 * 2**group for group in range(groups - groups // 2, groups)}
    assert set(buckets["middle"]) == {3 * 2**group for group in range(1, groups - groups // 2)}
    assert set(buckets["tail"]) == {3}
    assert len(buckets["head"]) * 2 ** (groups - 1) == len(buckets["tail"]) * (2 ** (groups // 2) - 1)
    assert sum(map(len, buckets.values())) == len(train)


@each(
    ("groups", "exposures"),
    [
        (2, {"head": {2}, "middle": set(), "tail": {1}}),
        (3, {"head": {4}, "middle": {2}, "tail": {1}}),
        (4, {"head": {8, 4}, "middle": {2}, "tail": {1}}),
        (8, {"head": {128, 64, 32, 16}, "middle": {8, 4, 2}, "tail": {1}}),
    ],
)
def test_the_head_is_the_first_half_of_the_groups_and_the_tail_the_last_group(
    groups: int, exposures: dict[str, set[int]]
) -> None:
    options, item_N = facts.Options(word="owns", groups=groups), np.arange(2 * (2**groups - 1))
    examples = facts.draw(Language(("owns",), 8, 3), options, item_N, Place(0, "t", "s", "fact"), "train")
    found = {name: set(examples.repeats_N[examples.bucket_N == index].tolist()) for index, name in enumerate(BUCKETS)}
    assert found == {"all": set(), **exposures}
    shares = [examples.repeats_N[examples.bucket_N == index].sum() for index in range(len(BUCKETS))]
    groups_of = {name: len(repeats) for name, repeats in exposures.items()}
    of_group = examples.repeats_N.sum() / groups  # every group takes the same share of training
    assert shares == [of_group * groups_of.get(name, 0) for name in BUCKETS]


@each(("label", "stage", "slice_name"), grouped_slices())
def test_a_smaller_set_of_full_cycles_has_the_same_shares_of_groups(label: str, stage: str, slice_name: str) -> None:
    groups = shipped.option(label, stage, slice_name, "groups")
    cycle_length, head, tail = 2**groups - 1, 2 ** (groups // 2) - 1, 2 ** (groups - 1)
    train = shipped.task(label).draw(stage, 0, {slice_name: cycle_length})[slice_name].train
    assert np.bincount(train.bucket_N).tolist() == [0, head, cycle_length - head - tail, tail]


def test_frequency_is_independent_of_the_answer() -> None:
    language, options = LANGUAGES[0], facts.Options(word="owns", groups=3)
    examples = facts.draw(language, options, np.arange(7000) % 4, Place(0, "t", "s", "fact"), "train")
    table = np.zeros((3, language.names))
    np.add.at(table, (np.log2(examples.repeats_N).astype(int), objects(examples, language)), 1)
    assert chi2_contingency(table).pvalue > 1e-3


def test_held_out_facts_and_facts_without_groups_have_equal_repeats() -> None:
    options = facts.Options(word="owns", groups=2)
    held_out = facts.draw(LANGUAGES[1], options, np.arange(9), Place(0, "t", "s", "fact"), "test")
    for examples in (draw(LANGUAGES[1]), held_out):
        assert (examples.repeats_N == 1).all()
        assert (examples.bucket_N == BUCKETS.index("all")).all()
