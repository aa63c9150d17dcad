"""What DESIGN promises of data holds for every task that is shipped, at the sizes on its card."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from math import log2, sqrt

import numpy as np
import pytest

from synthbench.generators import SLICES, SPLITS, Examples, Task
from synthbench.generators.examples import END, EQUALS
from synthbench.generators.floors import copied
from tests.generators import shipped


def prompts(examples: Examples) -> set[bytes]:
    return {row[~mask].tobytes() for row, mask in zip(examples.tokens_NL, examples.answer_NL, strict=True)}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", shipped.TASKS)
def test_no_prompt_of_a_split_is_asked_in_another_split_slice_or_stage(name: str, seed: int) -> None:
    sets = [prompts(examples) for examples in shipped.splits_of(name, seed).values()]
    assert sum(map(len, sets)) == len(set.union(*sets))


@pytest.mark.parametrize(("name", "stage", "part"), shipped.SLICES)
def test_no_two_splits_of_a_slice_share_an_item(name: str, stage: str, part: str) -> None:
    splits = shipped.drawn(name, stage)[part]
    items = [set(examples.item_N.tolist()) for examples in splits]
    assert [len(found) for found in items] == [len(examples) for examples in splits]
    assert len(set.union(*items)) == sum(map(len, items))


@pytest.mark.parametrize(("name", "stage", "part"), shipped.SLICES)
def test_splits_have_the_sizes_on_the_card_and_the_slice_that_the_card_names(name: str, stage: str, part: str) -> None:
    card, splits = shipped.task(name).card, shipped.drawn(name, stage)[part]
    sizes = card.stages[stage][part].items, card.held_out.validation, card.held_out.test  # type: ignore[index]
    assert tuple(map(len, splits)) == sizes
    assert all((examples.slice_N == SLICES.index(part)).all() for examples in splits)


@pytest.mark.parametrize(("name", "stage"), shipped.STAGES)
def test_slices_of_a_stage_are_equally_long_with_equally_long_answers_at_the_same_place(name: str, stage: str) -> None:
    task = shipped.task(name)
    masks = {
        examples.answer_NL.shape[1:] + tuple(map(bytes, np.unique(examples.answer_NL, axis=0)))
        for part, splits in shipped.drawn(name, stage).items()
        for examples in splits
        if not task.card.stages[stage][part].note  # type: ignore[index]
    }
    assert len(masks) <= 1


@pytest.mark.parametrize(("name", "stage"), shipped.STAGES)
def test_slices_of_a_stage_show_every_item_equally_often_or_the_card_says_why(name: str, stage: str) -> None:
    parts = shipped.task(name).card.stages[stage].values()
    assert len({part.items / part.share for part in parts if not part.note}) <= 1


@pytest.mark.parametrize(("name", "stage", "part"), shipped.SLICES)
def test_every_token_is_in_the_vocabulary_and_every_answer_ends(name: str, stage: str, part: str) -> None:
    language = shipped.task(name).language
    for examples in shipped.drawn(name, stage)[part]:
        assert examples.tokens_NL.min() >= 0
        assert examples.tokens_NL.max() < language.vocabulary
        assert (examples.tokens_NL[examples.answer_NL].reshape(len(examples), -1)[:, -1] == END).all()
        assert ((examples.tokens_NL == EQUALS).sum(1) == 1).all()


@pytest.mark.parametrize(("name", "stage"), shipped.STAGES)
def test_the_same_address_gives_the_same_data_whatever_was_drawn_before(name: str, stage: str) -> None:
    again = Task(shipped.task(name).card)
    again.draw(stage, 3)
    for part, splits in again.draw(stage, 0).items():
        assert [examples.digest() for examples in splits] == [
            examples.digest() for examples in shipped.drawn(name, stage)[part]
        ]


@pytest.mark.parametrize(("name", "stage"), shipped.STAGES)
def test_data_neither_reads_nor_moves_the_global_random_state_of_numpy(name: str, stage: str) -> None:
    before = np.random.get_state()
    try:
        np.random.seed(0)
        state = np.random.get_state()[1]
        drawn = shipped.task(name).joined(stage, 0).train.digest()
        assert np.array_equal(np.random.get_state()[1], state)
        np.random.seed(1)
        assert shipped.task(name).joined(stage, 0).train.digest() == drawn
    finally:
        np.random.set_state(before)


@pytest.mark.parametrize(("name", "stage"), shipped.STAGES)
def test_a_smaller_set_is_the_beginning_of_a_larger_one_and_held_out_items_are_the_same(name: str, stage: str) -> None:
    task = shipped.task(name)
    whole = shipped.drawn(name, stage)
    for part, items in task.card.size(stage).items():
        for fewer in {1, items // 3, items - 1} - {0}:
            splits = task.draw(stage, 0, {part: fewer})[part]
            assert splits.train.digest() == whole[part].train.take(slice(fewer)).digest()
            assert splits.validation.digest() == whole[part].validation.digest()
            assert splits.test.digest() == whole[part].test.digest()


@pytest.mark.parametrize(("name", "stage", "part"), shipped.SLICES)
def test_the_size_of_one_slice_does_not_change_another(name: str, stage: str, part: str) -> None:
    others = shipped.task(name).draw(stage, 0, {part: 1})
    for other, splits in shipped.drawn(name, stage).items():
        if other != part:
            assert others[other].train.digest() == splits.train.digest()


@pytest.mark.parametrize(("name", "stage", "part"), shipped.of_generator("facts"))
def test_neighbouring_seeds_share_no_more_facts_and_subjects_than_chance(name: str, stage: str, part: str) -> None:
    task = shipped.task(name)
    names, items = task.language.names, task.card.size(stage)[part]
    facts, subjects = 0, 0
    for one, other in pairwise(range(5)):
        first, second = shipped.drawn(name, stage, one)[part].train, shipped.drawn(name, stage, other)[part].train
        known = {item: row.tobytes() for item, row in zip(first.item_N.tolist(), first.tokens_NL, strict=True)}
        subjects += sum(item in known for item in second.item_N.tolist())
        facts += sum(
            known.get(item) == row.tobytes() for item, row in zip(second.item_N.tolist(), second.tokens_NL, strict=True)
        )
    expected = 4 * items * items / names
    assert abs(subjects - expected) <= 5 * sqrt(expected) + 1
    assert facts <= expected / names + 5 * sqrt(expected / names)


@pytest.mark.parametrize(("name", "stage", "part"), shipped.of_generator("facts"))
def test_facts_in_the_same_place_have_equal_objects_no_more_often_than_chance(name: str, stage: str, part: str) -> None:
    """Between neighbouring seeds and between splits: streams that started alike would agree everywhere."""
    task = shipped.task(name)
    syllables = task.language.syllables
    rows = [examples.tokens_NL for seed in range(4) for examples in shipped.drawn(name, stage, seed)[part]]
    for one, other in pairwise(rows):
        count = min(len(one), len(other))
        equal = (one[:count] == other[:count])[:, -1 - task.language.name_length : -1]
        bound = 5 * sqrt(1 / syllables / equal.size) + 1 / equal.size
        assert abs(equal.mean() - 1 / syllables) <= bound


@pytest.mark.parametrize(("name", "stage", "part"), shipped.of_generator("inflection"))
def test_copying_the_prompt_never_answers_the_rule(name: str, stage: str, part: str) -> None:
    assert all(copied(examples) == 0 for examples in shipped.drawn(name, stage)[part])


@pytest.mark.parametrize(("name", "stage", "part"), shipped.of_generator("inflection"))
def test_held_out_stems_are_made_of_syllables_that_were_trained_in_their_place(
    name: str, stage: str, part: str
) -> None:
    """Up to the end of the stage, that is with earlier stages under the same rule word: a small finetuning set alone
    leaves out some of the syllables that the rule copies, none of those that it changes (the next test)."""
    task = shipped.task(name)
    word = task.card.stages[stage][part].options["word"]  # type: ignore[index]
    stages = list(task.card.stages)
    trained = np.concatenate(
        [
            task.language.spell(shipped.drawn(name, earlier)[other].train.item_N)
            for earlier in stages[: stages.index(stage) + 1]
            for other, card in task.card.stages[earlier].items()
            if card.options.get("word") == word
        ]
    )
    for examples in shipped.drawn(name, stage)[part][1:]:
        asked = task.language.spell(examples.item_N)
        for place in range(task.language.name_length):
            assert set(asked[:, place].tolist()) <= set(trained[:, place].tolist())


@pytest.mark.parametrize(("name", "stage", "part"), shipped.of_generator("inflection"))
def test_a_stage_trains_every_syllable_that_its_rule_changes_and_all_equally_often(
    name: str, stage: str, part: str
) -> None:
    task = shipped.task(name)
    syllables, items = task.language.syllables, task.card.size(stage)[part]
    assert items >= syllables
    for seed in range(3):
        trained = task.language.spell(shipped.drawn(name, stage, seed)[part].train.item_N)[:, -1]
        counts = np.bincount(trained, minlength=syllables)
        assert counts.min() == items // syllables
        assert counts.max() == -(-items // syllables)


@pytest.mark.parametrize(("name", "stage", "part"), shipped.SLICES)
def test_chance_is_that_of_a_uniform_answer_and_its_bits_say_the_same(name: str, stage: str, part: str) -> None:
    for examples in shipped.drawn(name, stage)[part]:
        assert examples.bits_N == pytest.approx([-log2(chance) for chance in examples.chance_N])


@pytest.mark.parametrize("name", shipped.TASKS)
def test_splits_have_digests_of_their_own(name: str) -> None:
    digests = defaultdict(list)
    for seed in (0, 1):
        for where, examples in shipped.splits_of(name, seed).items():
            digests[examples.digest()].append((seed, *where))
    assert all(len(found) == 1 for found in digests.values())
    assert len(digests) == 2 * len(SPLITS) * sum(len(stage) for stage in shipped.task(name).card.stages.values())
