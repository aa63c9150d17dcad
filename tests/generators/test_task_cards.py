"""A task card means what it says, and one that asks for something impossible is refused in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synthbench.errors import BadInput
from synthbench.generators import GENERATORS, Generator, Task, register
from tests.experiment import tiny


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages.finetune.rule.items": 81}, ["tiny-task", "stages.finetune.rule", "items = 81", "at most 80 items"]),
        ({"held_out.test": 200}, ["tiny-task", "stages.pretrain.fact", "held out", "at most 0 items"]),
        ({"stages.pretrain.fact.generator": "fact"}, ["tiny-task", "stages.pretrain.fact", "'fact'", "'facts'"]),
        ({"stages.finetune.rule.shifts": []}, ["tiny-task", "stages.finetune.rule.shifts", "[]"]),
        ({"stages.finetune.rule.shifts": [0]}, ["tiny-task", "stages.finetune.rule.shifts", "0"]),
        ({"stages.finetune.rule.shifts": [1.5]}, ["tiny-task", "stages.finetune.rule.shifts", "1.5"]),
        ({"stages.finetune.rule.shifts": [16]}, ["tiny-task", "stages.finetune.rule", "shifts", "1 and 15"]),
        ({"stages.finetune.rule.shifts": [1] * 17}, ["tiny-task", "stages.finetune.rule", "17 classes", "16"]),
        ({"stages.finetune.rule.shift": [1]}, ["tiny-task", "stages.finetune.rule.shift"]),
        ({"stages.finetune.fact.word": ""}, ["tiny-task", "stages.finetune.fact.word", "''"]),
        ({"stages.finetune.fact.word": 3}, ["tiny-task", "stages.finetune.fact.word", "3"]),
        ({"stages.finetune.fact.items": 0}, ["tiny.toml", "stages.finetune.fact.items = 0", "greater than 0"]),
        ({"stages.finetune.fact.share": -1}, ["tiny.toml", "stages.finetune.fact.share = -1", "greater than 0"]),
        ({"stages.finetune.facts": {}}, ["tiny.toml", "stages.finetune.facts"]),
        ({"language.syllables": 1}, ["tiny.toml", "language.syllables = 1"]),
        ({"language.syllables": 1024, "language.name_length": 3}, ["tiny.toml", "language", "2**20"]),
        ({"language.syllable": 4}, ["tiny.toml", "'language.syllable'", "'syllables'"]),
        ({"held_out.validation": 0}, ["tiny.toml", "held_out.validation = 0"]),
        ({"version": "1"}, ["tiny.toml", "version = '1'"]),
        ({"stages": {}}, ["tiny.toml", "stages"]),
    ],
)
def test_an_impossible_card_is_refused_by_naming_what_is_wrong(changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        Task(tiny.task_card(changes))
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert "\n" not in message
    assert len(message) < 300


def test_a_card_may_use_every_name_that_the_language_leaves_it() -> None:
    splits = Task(tiny.task_card({"stages.finetune.rule.items": 80})).draw("finetune", 0)["rule"]
    assert len({item for examples in splits for item in examples.item_N.tolist()}) == 80 + 16 + 32


def test_more_items_than_names_are_refused_when_they_are_drawn_too() -> None:
    with pytest.raises(BadInput, match=r"stages\.finetune\.rule: items = 81"):
        Task(tiny.task_card()).draw("finetune", 0, {"rule": 81})


def test_slices_that_share_a_word_share_no_item_within_or_between_stages() -> None:
    changes = {f"stages.{stage}.rule.word": "owns" for stage in ("pretrain", "finetune")}
    changes |= {f"stages.{stage}.rule.items": 10 for stage in ("pretrain", "finetune")}
    changes |= {f"stages.{stage}.fact.items": 10 for stage in ("pretrain", "finetune")}
    task = Task(tiny.task_card(changes | {"held_out.validation": 4, "held_out.test": 50}))
    items = [
        examples.item_N for stage in task.card.stages for splits in task.draw(stage, 0).values() for examples in splits
    ]
    assert len(items) == 2 * 2 * 3
    assert len(np.unique(np.concatenate(items))) == sum(map(len, items)) == 2 * 2 * 64


def test_a_batch_is_divided_by_shares() -> None:
    assert Task(tiny.task_card()).shares("finetune", 16) == {"fact": 4, "rule": 12}


@pytest.mark.parametrize("batch", [1, 6, 15])
def test_a_batch_that_cannot_be_divided_by_shares_is_refused(batch: int) -> None:
    with pytest.raises(BadInput, match=rf"Stage finetune: batch = {batch} must be a multiple of 4"):
        Task(tiny.task_card()).shares("finetune", batch)


def test_slices_joined_are_slice_after_slice_in_the_cards_order() -> None:
    task = Task(tiny.task_card())
    parts, joined = task.draw("finetune", 0), task.joined("finetune", 0)
    for split in ("train", "validation", "test"):
        expected = np.concatenate([getattr(parts[name], split).tokens_NL for name in ("fact", "rule")])
        assert np.array_equal(getattr(joined, split).tokens_NL, expected)


def test_a_generators_name_is_registered_once() -> None:
    before = dict(GENERATORS)
    taken = GENERATORS["facts"]
    with pytest.raises(ValueError, match="'facts' is registered already"):
        register(Generator("facts", "another", taken.options, taken.draw))
    assert before == GENERATORS
