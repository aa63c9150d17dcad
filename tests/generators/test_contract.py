"""The contract of generators, tested on every registered generator and every shipped task and variant.

Shapes: N examples, L tokens, K models, S answer tokens.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest

from synthbench.cards import TaskCard
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.generators import GENERATORS, SLICES, SPLITS, Task, by_slice, join
from synthbench.generators.contract import CHECKS, Check
from tests.each import each
from tests.generators import shipped, small

INFLECTED = shipped.slices_of_generators("inflection", "wugs", "noisy")


# Checks of the contract


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
@each("label", shipped.TASKS)
def test_every_shipped_task_passes_every_check(label: str, check: Check) -> None:
    assert list(check(shipped.sample(label))) == []


# Splits


@each("unseen", [0, 1, 2])
@each("generator", small.HAVE_PARTS)
def test_slices_that_share_a_word_share_no_item_with_held_out_parts(generator: str, unseen: int) -> None:
    slice_options = dict(small.card(generator, {"unseen": unseen, "items": 9}).model_dump()["stages"]["only"]["rule"])
    held_out = {"validation": 1, "test": 1}
    stages = {stage: {"rule": slice_options} for stage in ("first", "second")}
    task = small.task(generator, stages=stages, held_out=held_out)
    for seed in range(5):
        items = [examples.item_N for stage in stages for examples in task.draw(stage, seed)["rule"]]
        assert len(np.unique(np.concatenate(items))) == sum(map(len, items))


@each(("label", "stage", "slice_name"), shipped.SLICES)
def test_trained_items_belong_to_their_slice_or_to_those_that_its_generator_mixes_in(
    label: str, stage: str, slice_name: str
) -> None:
    splits = shipped.draw(label, stage)[slice_name]
    trained_slices = {SLICES[index] for index in splits.train.slice_N}
    generator = shipped.slice_card(label, stage, slice_name).generator
    mixed_in = {"wugs": {"exception"}, "noisy": {"noise"}}.get(generator, set())
    assert trained_slices == {slice_name} | mixed_in


@pytest.mark.parametrize("label", shipped.TASKS)
def test_every_slice_of_the_last_stage_has_enough_items_for_a_mean(label: str) -> None:
    """`fit` is a mean over slices: a slice of a few items would weigh as much as one of a hundred, and jump with each."""
    *_, last = shipped.task(label).card.stages
    trained = join({name: splits.train for name, splits in shipped.draw(label, last).items()})
    counts = {name: len(part) for name, part in by_slice(trained).items()}  # exceptions and noise apart
    assert min(counts.values()) >= 20, counts


# Held-out parts


@each("seed", range(3))
@each(("label", "stage", "slice_name"), INFLECTED)
def test_all_moving_syllables_that_are_not_held_out_are_trained_equally_often(
    label: str, stage: str, slice_name: str, seed: int
) -> None:
    card, syllables = shipped.slice_card(label, stage, slice_name), shipped.task(label).language.syllables
    trained_syllables = syllables - card.options.get("unseen", 0)
    items = shipped.draw(label, stage, seed)[slice_name].train.item_N
    stem_NS = shipped.task(label).language.spell(items)
    _, counts = np.unique(stem_NS[:, shipped.moving(label, stage, slice_name)], return_counts=True)
    assert len(counts) == trained_syllables
    assert set(counts) == {card.items // trained_syllables, -(-card.items // trained_syllables)}


# Streams


@each(("label", "stage", "slice_name"), shipped.SLICES)
def test_neighbouring_seeds_share_items_and_facts_share_answers_by_chance_only(
    label: str, stage: str, slice_name: str
) -> None:
    task = shipped.task(label)
    names, items = task.language.names, shipped.slice_card(label, stage, slice_name).items
    shared, equal = 0, 0
    for seed, next_seed in pairwise(range(5)):
        first, second = (shipped.draw(label, stage, number)[slice_name].train for number in (seed, next_seed))
        first_tokens, second_tokens = (
            dict(zip(examples.item_N.tolist(), map(bytes, examples.tokens_NL), strict=True))
            for examples in (first, second)
        )
        both = first_tokens.keys() & second_tokens.keys()
        shared += len(both)
        equal += sum(first_tokens[item] == second_tokens[item] for item in both)
    expected = 4 * items * items / names
    assert abs(shared - expected) <= 5 * sqrt(expected) + 0.1 * expected + 1  # 10 %: seeds hold out different parts
    if shipped.slice_card(label, stage, slice_name).generator == "facts":
        assert equal <= expected / names + 5 * sqrt(expected / names)


@each(("label", "stage", "slice_name"), shipped.slices_of_generators("facts"))
def test_objects_of_facts_agree_by_chance_only(label: str, stage: str, slice_name: str) -> None:
    """Compares neighbouring seeds and splits. Equal streams would agree everywhere."""
    syllables = shipped.task(label).language.syllables
    splits = [split for seed in range(4) for split in shipped.draw(label, stage, seed)[slice_name] if len(split)]
    sets = [small.answer_syllables(split) for split in splits]
    assert len(sets) == 4 * 3
    for first, second in pairwise(sets):
        count = min(len(first), len(second))
        equal = first[:count] == second[:count]
        assert abs(equal.mean() - 1 / syllables) <= 5 * sqrt(1 / syllables / equal.size) + 1 / equal.size


# Digests and fingerprints


@each("label", shipped.TASKS)
def test_digests_are_those_of_the_data_at_seed_0(label: str) -> None:
    task = shipped.task(label)
    for stage in task.card.stages:
        assert task.digests(stage) == {
            f"{stage}/{slice_name}/{split}": examples.digest()
            for slice_name, splits in shipped.draw(label, stage).items()
            for split, examples in zip(SPLITS, splits, strict=True)
        }


def card_values(content: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Every value of a card with its path; a list is one value."""
    if not isinstance(content, dict):
        return [(path, content)]
    return [entry for key, value in content.items() for entry in card_values(value, (*path, key))]


def other_values(value: object) -> list[object]:
    """Other values of the same type."""
    if value is None or isinstance(value, str):
        return ["other-name", "9.9", "inflection", "facts", "first"]
    if isinstance(value, list) and not value:
        return [["w", "other"]]  # words
    if isinstance(value, list):
        return [[*value[:-1], value[-1] + 1], [*value[:-1], value[-1] - 1]]
    assert isinstance(value, (int, float))
    return [value + 1, value - 1, value * 2, type(value)(value / 2), value + 4]


PROSE = {"question", "description", "source", "note"}


@each("generator", GENERATORS)
def test_the_fingerprint_changes_with_every_value_of_a_card_except_prose(generator: str) -> None:
    """Includes every option of every generator."""
    options = GENERATORS[generator].options(word="w", **small.OPTIONS[generator]).model_dump()
    card = small.card(generator, options | {"items": 15}).model_dump(mode="json", exclude={"variants", "variant"})
    before = Task(TaskCard.model_validate(card)).fingerprint
    unchangeable = {"generator", "family"}  # its options would change, too; a stage that is the last is no family's
    unchangeable |= {"unseen"} if generator not in small.HAVE_PARTS else set()
    # always two operands; a small name has room for one hop, and for two queries alone
    unchangeable |= {"modular": {"name_length"}, "hops": {"hops"}, "recall": {"queries"}}.get(generator, set())
    changeable = [(path, value) for path, value in card_values(card) if path[-1] not in unchangeable]
    keys = {path[-1] for path, _ in changeable}
    assert {"version", "syllables", "test", "items", "word", *options} - unchangeable <= keys
    for path, value in changeable:
        for new_value in [candidate for candidate in other_values(value) if candidate != value]:
            content = deepcopy(card)
            overrides.put(content, path, new_value, "the test")
            try:
                changed = Task(TaskCard.model_validate(content))
            except (BadInput, ValueError):
                continue
            assert (changed.fingerprint == before) == (path[-1] in PROSE), path
            break
        else:
            raise AssertionError(f"{path} could not be changed")


@each("label", shipped.VARIANTS)
def test_a_variant_shares_the_fingerprint_before_the_stage_that_it_changes(label: str) -> None:
    base, variant = shipped.task(label.split(":")[0]), shipped.task(label)
    assert variant.card.label == label
    assert variant.card.name == base.card.name
    paths = base.card.variants[label.split(":")[1]]
    differing = {path.split(".")[1] for path in paths if path.startswith("stages.")}
    assert differing
    assert len(differing) == len({path.split(".")[1] for path in paths})
    is_changed = False
    for stage in base.card.stages:
        is_changed |= stage in differing
        assert (variant.fingerprint_to(stage) != base.fingerprint_to(stage)) == is_changed
    assert variant.fingerprint == variant.fingerprint_to(stage)
    siblings = [f"{base.card.name}:{name}" for name in base.card.variants]
    assert len({shipped.task(sibling).fingerprint for sibling in siblings}) == len(siblings)


FAMILIES = {
    family: [label for label in shipped.TASKS if shipped.task(label).card.family == family]
    for family in {shipped.task(label).card.family for label in shipped.TASKS} - {None}
}


@each("seed", [0, 1])
@each("family", FAMILIES)
def test_tasks_of_a_family_share_data_and_fingerprints_except_in_the_last_stage(family: str, seed: int) -> None:
    label, *other_labels = FAMILIES[family]
    *earlier, last = shipped.task(label).card.stages
    assert len({shipped.task(other).card.name for other in other_labels} - {label}) >= 1
    assert earlier
    for other in other_labels:
        assert list(shipped.task(other).card.stages) == [*earlier, last]
        for stage in earlier:
            first, second = shipped.draw(label, stage, seed), shipped.draw(other, stage, seed)
            assert first.keys() == second.keys()
            for slice_name, splits in first.items():
                assert [split.digest() for split in splits] == [split.digest() for split in second[slice_name]]
            assert shipped.task(label).fingerprint_to(stage) == shipped.task(other).fingerprint_to(stage)
        assert shipped.task(label).fingerprint_to(last) != shipped.task(other).fingerprint_to(last)


def test_a_task_outside_a_family_shares_no_data_with_it() -> None:
    digests = {split.digest() for split in shipped.splits_of("rote-vs-rule").values()}
    content = shipped.task("rote-vs-rule").card.model_dump(mode="json")
    outside = Task(TaskCard.model_validate(content | {"family": None}))
    for stage in outside.card.stages:
        drawn = [split for splits in outside.draw(stage, 0).values() for split in splits if len(split)]
        assert not {split.digest() for split in drawn} & digests
