"""What DESIGN promises of data holds for every generator that registers and every task and variant that is shipped.

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
from synthbench.generators import GENERATORS, SLICES, SPLITS, Task
from synthbench.generators.contract import CHECKS, Check
from tests.each import each
from tests.generators import shipped, small

INFLECTED = shipped.of_generator("inflection", "wugs", "noisy")


# What every generator promises, built in or not


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
@each("label", shipped.TASKS)
def test_every_shipped_task_keeps_a_promise(label: str, check: Check) -> None:
    assert check.holds(shipped.sample(label)) is None


# Splits


@each("unseen", [0, 1, 2])
@each("generator", small.HAVE_PARTS)
def test_two_slices_under_one_word_share_no_item_though_parts_are_held_out(generator: str, unseen: int) -> None:
    part = dict(small.card(generator, {"unseen": unseen, "items": 9}).model_dump()["stages"]["only"]["rule"])
    held_out = {"validation": 1, "test": 1}
    found = Task(small.card(generator, stages={"first": {"rule": part}, "second": {"rule": part}}, held_out=held_out))
    for seed in range(5):
        items = [e.item_N for stage in ("first", "second") for e in found.draw(stage, seed)["rule"]]
        assert len(np.unique(np.concatenate(items))) == sum(map(len, items))


@each(("label", "stage", "part"), shipped.SLICES)
def test_trained_items_are_of_the_slice_that_the_card_names_and_of_what_its_generator_mixes_in(
    label: str, stage: str, part: str
) -> None:
    splits = shipped.drawn(label, stage)[part]
    found = {SLICES[index] for index in splits.train.slice_N}
    extra = {"wugs": {"exception"}, "noisy": {"noise"}}.get(shipped.card_of(label, stage, part).generator, set())
    assert found == {part} | extra


# Parts that are held out


@each("seed", range(3))
@each(("label", "stage", "part"), INFLECTED)
def test_a_stage_trains_every_last_syllable_that_is_not_held_out_and_all_equally_often(
    label: str, stage: str, part: str, seed: int
) -> None:
    card, syllables = shipped.card_of(label, stage, part), shipped.task(label).language.syllables
    shown = syllables - card.options.get("unseen", 0)
    items = shipped.drawn(label, stage, seed)[part].train.item_N
    _, counts = np.unique(shipped.task(label).language.spell(items)[:, -1], return_counts=True)
    assert len(counts) == shown
    assert set(counts) == {card.items // shown, -(-card.items // shown)}


# Streams


@each(("label", "stage", "part"), shipped.SLICES)
def test_neighbouring_seeds_share_no_more_items_than_chance_and_facts_no_more_answers(
    label: str, stage: str, part: str
) -> None:
    task = shipped.task(label)
    names, items = task.language.names, shipped.card_of(label, stage, part).items
    shared, equal = 0, 0
    for one, other in pairwise(range(5)):
        first, second = shipped.drawn(label, stage, one)[part].train, shipped.drawn(label, stage, other)[part].train
        known = dict(zip(first.item_N.tolist(), map(bytes, first.tokens_NL), strict=True))
        both = [known[item] == bytes(row) for item, row in zip(second.item_N.tolist(), second.tokens_NL, strict=True)
                if item in known]  # fmt: skip
        shared, equal = shared + len(both), equal + sum(both)
    expected = 4 * items * items / names
    assert abs(shared - expected) <= 5 * sqrt(expected) + 0.1 * expected + 1  # a tenth: seeds hold out different parts
    if part == "fact":
        assert equal <= expected / names + 5 * sqrt(expected / names)


@each(("label", "stage", "part"), shipped.of_generator("facts"))
def test_facts_in_the_same_place_have_equal_objects_no_more_often_than_chance(
    label: str, stage: str, part: str
) -> None:
    """Between neighbouring seeds and between splits: streams that started alike would agree everywhere."""
    syllables = shipped.task(label).language.syllables
    sets = [small.answers(e) for seed in range(4) for e in shipped.drawn(label, stage, seed)[part] if len(e)]
    assert len(sets) == 4 * 3
    for one, other in pairwise(sets):
        count = min(len(one), len(other))
        equal = one[:count] == other[:count]
        assert abs(equal.mean() - 1 / syllables) <= 5 * sqrt(1 / syllables / equal.size) + 1 / equal.size


# What is recorded


@each("label", shipped.TASKS)
def test_the_digests_of_a_task_are_those_of_its_data_at_seed_0(label: str) -> None:
    task = shipped.task(label)
    for stage in task.card.stages:
        assert task.digests(stage) == {
            f"{stage}/{part}/{split}": examples.digest()
            for part, splits in shipped.drawn(label, stage).items()
            for split, examples in zip(SPLITS, splits, strict=True)
        }


def values(content: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Every value on a card, lists whole, by path."""
    if not isinstance(content, dict):
        return [(path, content)]
    return [found for key, inner in content.items() for found in values(inner, (*path, key))]


def others(value: object) -> list[object]:
    """Values of the same kind that a card might have instead."""
    if value is None or isinstance(value, str):
        return ["other-name", "9.9", "inflection", "facts"]
    if isinstance(value, list):
        return [[*value[:-1], value[-1] + 1], [*value[:-1], value[-1] - 1]]
    assert isinstance(value, (int, float))
    return [value + 1, value - 1, value * 2, type(value)(value / 2), value + 4]


PROSE = {"question", "description", "source", "note"}


@each("generator", GENERATORS)
def test_the_fingerprint_changes_with_every_value_on_a_card_but_prose(generator: str) -> None:
    """Every option of every generator among them."""
    options = GENERATORS[generator].options(word="w", **small.OPTIONS[generator]).model_dump()
    card = small.card(generator, options | {"items": 15}).model_dump(mode="json", exclude={"variants", "variant"})
    before = Task(TaskCard.model_validate(card)).fingerprint
    fixed = {"generator"}  # options go with the generator
    fixed |= {"unseen"} if generator not in small.HAVE_PARTS else set()
    fixed |= {"name_length"} if generator == "modular" else set()  # two operands
    tried = [(path, value) for path, value in values(card) if path[-1] not in fixed]
    assert {"version", "syllables", "test", "items", "word", *options} - fixed <= {path[-1] for path, _ in tried}
    for path, value in tried:
        for other in [found for found in others(value) if found != value]:
            content = deepcopy(card)
            overrides.put(content, path, other, "the test")
            try:
                found = Task(TaskCard.model_validate(content))
            except (BadInput, ValueError):
                continue
            assert (found.fingerprint == before) == (path[-1] in PROSE), path
            break
        else:
            raise AssertionError(f"{path} could not be changed")


@each("label", shipped.VARIANTS)
def test_a_variant_shares_the_fingerprint_up_to_the_stage_where_it_differs_and_not_after(label: str) -> None:
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
    assert len({shipped.task(sibling).fingerprint for sibling in siblings}) == len(siblings) > 1


FAMILIES = {
    family: [label for label in shipped.TASKS if shipped.task(label).card.family == family]
    for family in {shipped.task(label).card.family for label in shipped.TASKS} - {None}
}


@each("seed", [0, 1])
@each("family", FAMILIES)
def test_tasks_of_a_family_draw_the_same_data_in_all_stages_but_the_last_and_share_fingerprints_there(
    family: str, seed: int
) -> None:
    one, *more = FAMILIES[family]
    *earlier, last = shipped.task(one).card.stages
    assert len({shipped.task(label).card.name for label in more} - {one}) >= 1
    assert earlier
    for other in more:
        assert list(shipped.task(other).card.stages) == [*earlier, last]
        for stage in earlier:
            first, second = shipped.drawn(one, stage, seed), shipped.drawn(other, stage, seed)
            assert first.keys() == second.keys()
            for part, splits in first.items():
                assert [e.digest() for e in splits] == [e.digest() for e in second[part]]
            assert shipped.task(one).fingerprint_to(stage) == shipped.task(other).fingerprint_to(stage)
        assert shipped.task(one).fingerprint_to(last) != shipped.task(other).fingerprint_to(last)


def test_a_task_outside_a_family_shares_no_data_with_one_inside() -> None:
    inside = {e.digest() for e in shipped.splits_of("rote-vs-rule").values()}
    content = shipped.task("rote-vs-rule").card.model_dump(mode="json")
    outside = Task(TaskCard.model_validate(content | {"family": None}))
    for stage in outside.card.stages:
        assert not {e.digest() for s in outside.draw(stage, 0).values() for e in s if len(e)} & inside
