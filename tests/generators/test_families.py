"""Tasks of a family share the data of the stages before the last, and of the last no more than chance has them share.

Shapes: N examples, S syllables.
"""

from __future__ import annotations

from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
import pytest

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.common.errors import BadInput
from synthbench.generators import Examples, Task
from tests import tiny
from tests.each import each
from tests.generators import shipped, small

SEEDS = range(16)
WORDS = ["owns", "past", "will"]


def relatives(*variants: str) -> list[tuple[str, str]]:
    """Pairs of different shipped tasks of one family, and of the variants of one."""
    labels = [*shipped.NAMES, *variants]
    loaded = {label: cards.load(TaskCard, label) for label in labels}
    return [
        (first, second)
        for first, second in combinations(labels, 2)
        if loaded[first].family is not None
        and loaded[first].family == loaded[second].family
        and loaded[first].name != loaded[second].name
    ]


PAIRS = relatives("rote-vs-rule:conflict")


def small_task(name: str, word: str, **changes: Any) -> Task:
    """A task of the family `small` with 4096 names, whose new rule has this word."""
    language = {"language.words": WORDS, "language.name_length": 3, "held_out.validation": 64, "held_out.test": 128}
    rule = {"stages.finetune.rule.word": word, "stages.pretrain.rule.unseen": 2, "stages.finetune.rule.unseen": 2}
    return Task(tiny.task_card({"name": name, "family": "small"} | language | rule | changes))


def last_stage(task: Task) -> str:
    return list(task.card.stages)[-1]


def common_slices(first: Task, second: Task) -> list[str]:
    """The slices that the last stages of both have, under the same word."""
    parts, others = (task.card.stages[last_stage(task)] for task in (first, second))
    return [
        name for name, part in parts.items() if name in others and others[name].options["word"] == part.options["word"]
    ]


def is_word_of_the_family(task: Task, slice_name: str) -> bool:
    """Whether an earlier stage has the word of a slice of the last: then that stage has a part of its names."""
    *earlier, last = task.card.stages.values()
    word = last[slice_name].options["word"]
    return any(part.options["word"] == word for parts in earlier for part in parts.values())


def assert_shared_by_chance(first: Task, second: Task, slice_name: str) -> None:
    """Of three splits; which syllables are unseen agrees by chance, too, or as the pretraining has it."""
    last = last_stage(first)
    names = first.language.names // (2 if is_word_of_the_family(first, slice_name) else 1)
    shared, expected = np.zeros(3), np.zeros(3)
    for seed in SEEDS:
        drawn = zip(first.draw(last, seed)[slice_name][:3], second.draw(last, seed)[slice_name][:3], strict=True)
        for split, (one, other) in enumerate(drawn):
            shared[split] += len(np.intersect1d(one.item_N, other.item_N))
            expected[split] += len(one) * len(other) / names
    # 20 %: names with an unseen syllable belong to neither, and it may be the same syllables
    assert (shared <= 1.2 * expected + 5 * np.sqrt(expected) + 1).all(), (shared, expected)
    assert shared[2] > 0  # chance does have them share some


@each(("first", "second"), PAIRS)
def test_items_of_finetuning_overlap_by_chance_only(first: str, second: str) -> None:
    one, other = shipped.task(first), shipped.task(second)
    for slice_name in common_slices(one, other):
        assert_shared_by_chance(one, other, slice_name)


def test_rules_of_two_shipped_tasks_are_compared() -> None:
    assert "rule" in common_slices(shipped.task("noisy-rule"), shipped.task("rote-vs-rule"))
    assert ("noisy-rule", "rote-vs-rule") in PAIRS


@each("word", ["past", "will"])
def test_items_overlap_by_chance_only_whether_or_not_pretraining_has_their_word(word: str) -> None:
    one, other = small_task("one", word), small_task("other", word)
    assert is_word_of_the_family(one, "rule") == (word == "past")
    assert common_slices(one, other) == ["fact", "rule"]
    for slice_name in ("fact", "rule"):
        assert_shared_by_chance(one, other, slice_name)


def objects_NS(task: Task, seed: int) -> np.ndarray:
    facts = task.draw(last_stage(task), seed)["fact"].train
    return small.answer_syllables(facts) - task.language.first_syllable


def test_objects_of_facts_of_two_tasks_agree_by_chance_only() -> None:
    """In order, and as sets of names. The same stream would agree everywhere."""
    pairs = [pair for pair in PAIRS if "fact" in common_slices(*map(shipped.task, pair))]
    tasks = [(shipped.task(first), shipped.task(second)) for first, second in pairs]
    for one, other in [*tasks, (small_task("one", "will"), small_task("other", "will"))]:
        syllables, agree, names_shared, names_expected = one.language.syllables, [], 0, 0.0
        for seed in SEEDS:
            first_NS, second_NS = objects_NS(one, seed), objects_NS(other, seed)
            count = min(len(first_NS), len(second_NS))
            agree.append((first_NS[:count] == second_NS[:count]).ravel())
            names_shared += len({*map(bytes, first_NS)} & {*map(bytes, second_NS)})
            names_expected += len(first_NS) * len(second_NS) / one.language.names
        equal = np.concatenate(agree)
        assert abs(equal.mean() - 1 / syllables) <= 5 * sqrt(1 / syllables / len(equal))
        assert names_shared <= names_expected + 5 * sqrt(names_expected) + 1


def digests(task: Task, stage: str, seed: int) -> list[str]:
    return [split.digest() for splits in task.draw(stage, seed).values() for split in splits if len(split)]


@each("seed", [0, 1])
@each("word", ["past", "will"])
def test_data_of_pretraining_are_identical_and_those_of_finetuning_all_different(word: str, seed: int) -> None:
    """Whatever the last stage is: an empty slice, another word and another size of a task change no pretraining."""
    one, other = small_task("one", word), small_task("other", word)
    assert digests(one, "pretrain", seed) == digests(other, "pretrain", seed)
    assert not {*digests(one, "finetune", seed)} & {*digests(other, "finetune", seed)}
    for changed in (
        small_task("one", "past" if word == "will" else "will"),
        small_task("third", word, **{"stages.finetune": {"fact": one.card.stages["finetune"]["fact"].model_dump()}}),
        small_task("fourth", word, **{"stages.finetune.rule.items": 99}),
    ):
        assert digests(changed, "pretrain", seed) == digests(one, "pretrain", seed)
        assert changed.fingerprint_to("pretrain") == one.fingerprint_to("pretrain")


@each("seed", [0, 1])
def test_rote_vs_rule_and_noisy_rule_have_one_pretraining(seed: int) -> None:
    one, other, conflict = map(shipped.task, ("rote-vs-rule", "noisy-rule", "rote-vs-rule:conflict"))
    first, *others = (digests(task, "pretrain", seed) for task in (one, other, conflict))
    assert all(first == data for data in others)
    assert not {*digests(one, "finetune", seed)} & {*digests(other, "finetune", seed)}


def test_words_of_a_language_have_their_ids_in_the_order_of_the_card() -> None:
    task = Task(tiny.task_card({"language.words": ["will", "past", "owns"]}))
    assert task.language.words == ("will", "past", "owns")
    assert task.draw("pretrain", 0)["fact"].train.tokens_NL[0, 0] == 3 + 2
    assert Task(tiny.task_card()).language.words == ("owns", "past")  # as the slices name them


def test_a_word_that_the_language_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match=r"tiny-task: language\.words lacks past, ") as caught:
        Task(tiny.task_card({"language.words": ["owns", "will"]}))
    assert str(caught.value).endswith(".")


# What the rule of a later stage would answer to the items of an earlier one


def old_rule(task: Task, seed: int) -> Examples:
    return task.draw("pretrain", seed)["rule"].test


def assert_only_the_rule_answer_differs(changed: Examples, old: Examples) -> None:
    for name, array in vars(old).items():
        if name != "rule_answer_NL":
            assert np.array_equal(getattr(changed, name), array), name
    assert np.array_equal(changed.rule_answer_NL[~old.answer_NL], old.tokens_NL[~old.answer_NL])


WITH_RULES = [
    label
    for label in shipped.TASKS
    if shipped.task(label).card.family and "rule" in shipped.task(label).card.stages.get("finetune", {})
]


@each("seed", [0, 1])
@each("label", WITH_RULES)
def test_answers_by_the_new_rule_are_those_that_it_gives_to_the_same_stems(label: str, seed: int) -> None:
    task = shipped.task(label)
    old, card = old_rule(task, seed), shipped.slice_card(label, "finetune", "rule")
    changed = task.by_rule_of("finetune", seed, old)
    assert_only_the_rule_answer_differs(changed, old)
    new_rule = small.on(task.language, card, old.item_N)
    assert np.array_equal(changed.rule_answer_NL[old.answer_NL], new_rule.tokens_NL[old.answer_NL])
    # and by hand: the shift of its class, at the first or the last syllable
    stem_NS, moving = task.language.spell(old.item_N), shipped.moving(label, "finetune", "rule")
    shifts, syllables = np.array(card.options["shifts"]), task.language.syllables
    stem_NS[:, moving] += shifts[stem_NS[:, moving] * len(shifts) // syllables].astype(np.int32)
    answer_NS = small.answer_syllables(changed, "rule_answer_NL") - task.language.first_syllable
    assert np.array_equal(answer_NS, stem_NS % syllables)
    assert (changed.rule_answer_NL != old.tokens_NL).any(1).mean() > 0.95  # the two rules hardly ever agree


@each("generator", ["noisy", "wugs"])
def test_old_items_are_answered_by_the_rule_never_by_noise_or_exceptions(generator: str) -> None:
    options = {"noisy": {"noise": 0.9}, "wugs": {"exceptions": 0.7}}[generator]
    clean, corrupted = (
        Task(tiny.task_card({"stages.finetune.rule": {"word": "past", "shifts": [7], "items": 36, "share": 3, **part}}))
        for part in ({"generator": "inflection"}, {"generator": generator, **options})
    )
    old = old_rule(clean, 0)
    assert corrupted.by_rule_of("finetune", 0, old).digest() == clean.by_rule_of("finetune", 0, old).digest()


def test_old_items_are_unchanged_where_no_new_rule_can_answer_them() -> None:
    facts_alone = tiny.task_card().model_dump()["stages"]["finetune"]["fact"]
    without = Task(tiny.task_card({"stages.finetune": {"fact": facts_alone}}))
    old = old_rule(without, 0)
    assert without.by_rule_of("finetune", 0, old) is old
    modular = {"generator": "modular", "word": "plus", "factors": [1, 1], "items": 36, "share": 3}
    other_length = Task(tiny.task_card({"language.words": ["owns", "past", "plus"], "stages.finetune.rule": modular}))
    old = old_rule(other_length, 0)
    assert other_length.by_rule_of("finetune", 0, old) is old  # a sum is a syllable long


def test_sums_are_answered_by_the_new_operator() -> None:
    sums = {"generator": "modular", "word": "past", "items": 36, "share": 3}
    more = {**sums, "factors": [3, 1], "constant": 5}
    task = Task(tiny.task_card({"stages.pretrain.rule": sums, "stages.finetune.rule": more}))
    old = old_rule(task, 0)
    changed = task.by_rule_of("finetune", 0, old)
    assert_only_the_rule_answer_differs(changed, old)
    answer_N = small.answer_syllables(changed, "rule_answer_NL")[:, 0] - task.language.first_syllable
    assert answer_N.tolist() == [(3 * a + b + 5) % 16 for a, b in task.language.spell(old.item_N).tolist()]


@each("seed", [0, 3])
def test_a_world_that_a_seed_draws_answers_old_questions_of_this_seed(seed: int) -> None:
    """Biographies tell in both stages of the same persons, who are others at another seed."""
    old = shipped.draw("biographies", "pretrain", seed)["rule"].test
    changed = shipped.task("biographies").by_rule_of("finetune", seed, old)
    assert changed is not old
    assert np.array_equal(changed.rule_answer_NL, old.tokens_NL)
