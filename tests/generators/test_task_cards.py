"""Task cards: variants, shares, joined slices; impossible cards are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.common.errors import BadInput
from synthbench.generators import GENERATORS, Generator, Task, join, register
from tests import tiny
from tests.each import each
from tests.generators import small


@each(
    ("changes", "phrases"),
    [
        ({"stages.finetune.rule.items": 81}, ["tiny-task", "stages.finetune.rule", "items = 81", "80"]),
        ({"held_out.test": 200}, ["tiny-task", "stages.pretrain.fact", "0"]),
        ({"stages.pretrain.fact.generator": "fact"}, ["tiny-task", "stages.pretrain.fact", "'fact'", "'facts'"]),
        ({"stages.finetune.rule.shifts": []}, ["tiny-task", "stages.finetune.rule.shifts", "[]"]),
        ({"stages.finetune.rule.shifts": [0]}, ["tiny-task", "stages.finetune.rule.shifts", "0"]),
        ({"stages.finetune.rule.shifts": [16]}, ["tiny-task", "stages.finetune.rule", "shifts", "1 and 15"]),
        ({"stages.finetune.rule.shifts": [1] * 17}, ["tiny-task", "stages.finetune.rule", "17", "16"]),
        ({"stages.finetune.rule.shift": [1]}, ["tiny-task", "stages.finetune.rule.shift"]),
        ({"stages.finetune.rule.unseen": -1}, ["stages.finetune.rule.unseen", "-1", "0"]),
        ({"stages.finetune.rule.unseen": 2000}, ["stages.finetune.rule.unseen", "2000", "1024"]),
        ({f"stages.{stage}.rule.unseen": 15 for stage in ("pretrain", "finetune")}, ["rule: unseen = 15", "14"]),
        ({"stages.finetune.rule.unseen": 2}, ["rule: unseen must be the same", "'past'"]),
        ({"stages.pretrain.fact.unseen": 1}, ["pretrain.fact: unseen = 1", "facts has no parts"]),
        # 256 names, 16 with a held-out last syllable: 120 per stage, 48 of them held out
        (
            {f"stages.{stage}.rule.unseen": 1 for stage in ("pretrain", "finetune")}
            | {"stages.finetune.rule.items": 73},
            ["stages.finetune.rule: items = 73 and 48", "the 120 names", "72"],
        ),
        ({"stages.finetune.fact.groups": 0}, ["finetune.fact.groups", "0", "1"]),
        ({"stages.finetune.fact.groups": 11}, ["finetune.fact.groups", "11", "10"]),
        ({"stages.finetune.fact.groups": 3}, ["finetune.fact", "items = 12", "7"]),
        ({"stages.finetune.fact.word": ""}, ["tiny-task", "stages.finetune.fact.word", "''"]),
        ({"stages.finetune.fact.word": 3}, ["tiny-task", "stages.finetune.fact.word", "3"]),
        ({"stages.finetune.fact.items": 0}, ["tiny.toml", "stages.finetune.fact.items = 0", "0"]),
        ({"stages.finetune.fact.share": -1}, ["tiny.toml", "stages.finetune.fact.share = -1", "0"]),
        ({"stages.finetune.facts": {}}, ["tiny.toml", "stages.finetune.facts"]),
        ({"language.syllables": 1}, ["tiny.toml", "language.syllables = 1"]),
        ({"language.syllables": 1024, "language.name_length": 3}, ["tiny.toml", "2**20"]),
        ({"language.syllable": 4}, ["tiny.toml", "'language.syllable'", "'syllables'"]),
        ({"held_out.validation": 0}, ["tiny.toml", "held_out.validation = 0"]),
        ({"version": "1"}, ["tiny.toml", "version = '1'"]),
        ({"stages": {}}, ["tiny.toml", "stages"]),
    ],
)
def test_an_impossible_card_is_refused_with_the_key_and_the_limit(changes: dict[str, Any], phrases: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        Task(tiny.task_card(changes))
    message = str(caught.value)
    assert all(phrase in message for phrase in phrases), message
    assert "\n" not in message
    assert len(message) < 300


@each(
    ("generator", "options", "phrases"),
    [
        ("wugs", {"exceptions": 0}, ["only.rule.exceptions", "0"]),
        ("wugs", {"exceptions": 1}, ["only.rule.exceptions", "1"]),
        ("wugs", {"exceptions": float("nan")}, ["only.rule.exceptions", "nan"]),
        ("wugs", {"exceptions": 0.05}, ["only.rule", "exceptions = 0.05 of 16 items "]),
        ("wugs", {"exceptions": 0.85}, ["only.rule", "exceptions = 0.85 of 16 items", "12"]),
        # 7 syllables in classes of 4 and 3: at least 2 * 4 of 16 verbs are in the first, 6 of them may be exceptions
        ("wugs", {"exceptions": 0.45, "shifts": [1, 2]}, ["exceptions = 0.45 of 16 items", "6"]),
        # one held out: at least 3 of 6 syllables in the first class; 16 = 2 * 6 + 4, so at least 2 * 3 + 1 verbs
        ("wugs", {"exceptions": 0.4, "shifts": [1, 2], "unseen": 1}, ["0.4 of 16", "5"]),
        # four held out: possibly the entire first class
        ("wugs", {"exceptions": 0.1, "shifts": [1, 2], "unseen": 4}, ["0.1 of 16", "0"]),
        ("wugs", {"repeats": 0}, ["only.rule.repeats", "0", "1"]),
        ("wugs", {"repeats": 101}, ["only.rule.repeats", "101", "100"]),
        ("wugs", {"shifts": [7]}, ["only.rule", "shifts", "1 and 6"]),
        ("wugs", {"noise": 0.2}, ["only.rule.noise"]),
        ("noisy", {"noise": 0}, ["only.rule.noise", "0"]),
        ("noisy", {"noise": 1.0}, ["only.rule.noise", "1"]),
        ("noisy", {"noise": float("inf")}, ["only.rule.noise", "inf"]),
        ("noisy", {"noise": 0.06}, ["only.rule", "noise = 0.06 of 16 items"]),
        ("noisy", {"shifts": [1] * 8}, ["only.rule", "8", "7"]),
        ("noisy", {"exceptions": 0.2}, ["only.rule.exceptions"]),
        ("modular", {"factors": [1, 7]}, ["only.rule", "factors = [1, 7]", "7"]),
        ("modular", {"factors": [0, 1]}, ["only.rule", "factors = [0, 1]"]),
        ("modular", {"factors": [1, -1]}, ["only.rule.factors.1", "-1", "0"]),
        ("modular", {"factors": [1]}, ["only.rule.factors"]),
        ("modular", {"factors": [1, 1, 1]}, ["only.rule.factors"]),
        ("modular", {"constant": 0.5}, ["only.rule.constant", "0.5"]),
        ("modular", {"constant": 10**7}, ["only.rule.constant", "10000000"]),
        ("facts", {"factors": [1, 1]}, ["only.rule.factors"]),
        ("facts", {"groups": 4}, ["only.rule", "items = 16", "15"]),
        *((name, {"items": 40}, ["only.rule: items = 40 and 10 held out", "39"]) for name in small.OPTIONS),
        *((name, {"unseen": 6}, ["only.rule: unseen = 6", "5"]) for name in small.HAVE_PARTS),
    ],
)
def test_an_impossible_option_is_refused_with_the_key_and_the_limit(
    generator: str, options: dict[str, Any], phrases: list[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        small.task(generator, options)
    message = str(caught.value)
    assert all(phrase in message for phrase in ["Task small: stages.", *phrases]), message
    assert message.endswith(".")
    assert "\n" not in message


@each("generator", small.OPTIONS)
def test_options_at_their_bounds_are_allowed(generator: str) -> None:
    bounds = {"wugs": {"exceptions": 0.75}, "noisy": {"noise": 0.999}, "facts": {"groups": 4, "items": 15}}
    bounds["inflection"] = {"items": 39, "shifts": [6] * 7}
    splits = small.task(generator, bounds.get(generator, {"items": 39})).draw("only", 0)["rule"]
    assert len(splits.train) >= 15


@each("length", [1, 3])
def test_modular_needs_names_of_two_syllables(length: int) -> None:
    with pytest.raises(BadInput, match=f"name_length = {length} .*2"):
        small.task("modular", {"items": 1}, language={"syllables": 11, "name_length": length})


@each("unseen", [1, 2])
def test_generators_with_different_held_out_parts_cannot_share_a_word(unseen: int) -> None:
    slices = [{"items": 4, "share": 1, "word": "w", "unseen": unseen} | options for options in (
        {"generator": "inflection", "shifts": [1]}, {"generator": "modular"}
    )]  # fmt: skip
    stages = {stage: {"rule": slice_options} for stage, slice_options in zip(("first", "second"), slices, strict=True)}
    with pytest.raises(BadInput, match="'w'"):
        small.task("inflection", stages=stages, held_out={"validation": 1, "test": 1})


def test_an_unknown_variant_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(BadInput, match=r"wugs .*'20-4'.*'20-4x'"):
        cards.load(TaskCard, "wugs:20-4")
    with pytest.raises(BadInput, match=r"rote-vs-rule .*'1-1x'"):
        cards.load(TaskCard, "rote-vs-rule:1-1x")


def test_a_variant_changes_its_keys_only_and_is_checked_when_loaded(tmp_path: Path) -> None:
    path, key = tmp_path / "task.toml", '"stages.finetune.rule.items"'
    path.write_text(f"{tiny.TASK}[variants]\nfew = {{ {key} = 9 }}\nodd = {{ {key} = 0 }}\n")
    with pytest.raises(BadInput, match=r"variant odd.* stages\.finetune\.rule\.items = 0"):
        cards.load(TaskCard, f"{path}:odd")
    base, few = (cards.load(TaskCard, name) for name in (str(path), f"{path}:few"))
    assert (few.label, few.name) == ("tiny-task:few", "tiny-task")
    changed = base.model_dump()
    changed["stages"]["finetune"]["rule"]["items"] = 9
    assert few.model_dump() == changed | {"variant": "few"}


def test_a_card_can_use_all_names_of_its_language() -> None:
    splits = Task(tiny.task_card({"stages.finetune.rule.items": 80})).draw("finetune", 0)["rule"]
    assert len({item for examples in splits for item in examples.item_N.tolist()}) == 80 + 16 + 32


def test_numbers_of_items_are_checked_again_when_they_are_drawn() -> None:
    with pytest.raises(BadInput, match=r"stages\.finetune\.rule: items = 81"):
        Task(tiny.task_card()).draw("finetune", 0, {"rule": 81})
    with pytest.raises(BadInput, match=r"exceptions = 0.25 of 3 items"):
        small.task("wugs").draw("only", 0, {"rule": 3})


SHARED = {"rule.word": "owns", "rule.items": 10, "fact.items": 10}


def test_slices_that_share_a_word_share_no_item_within_or_between_stages() -> None:
    changes: dict[str, Any] = {"held_out.validation": 4, "held_out.test": 50}
    for stage in ("pretrain", "finetune"):
        changes |= {f"stages.{stage}.{key}": value for key, value in SHARED.items()}
    task = Task(tiny.task_card(changes))
    items = [e.item_N for stage in task.card.stages for splits in task.draw(stage, 0).values() for e in splits]
    assert len(items) == 2 * 2 * 4
    assert len(np.unique(np.concatenate(items))) == sum(map(len, items)) == 2 * 2 * 64


def test_a_batch_is_divided_by_shares_or_refused() -> None:
    assert Task(tiny.task_card()).shares("finetune", 16) == {"fact": 4, "rule": 12}
    for batch in (1, 6, 15):
        with pytest.raises(BadInput, match=rf"finetune: batch = {batch} .*4"):
            Task(tiny.task_card()).shares("finetune", batch)


def test_joined_slices_are_in_the_order_of_the_card() -> None:
    slices = {name: splits.train for name, splits in Task(tiny.task_card()).draw("finetune", 0).items()}
    expected = np.concatenate([slices[name].tokens_NL for name in ("fact", "rule")])
    assert np.array_equal(join(slices).tokens_NL, expected)


def test_a_generator_s_name_is_registered_once() -> None:
    before = dict(GENERATORS)
    facts = GENERATORS["facts"]
    with pytest.raises(ValueError, match="'facts'"):
        register(Generator("facts", "another", facts.options, facts.draw))
    assert before == GENERATORS
