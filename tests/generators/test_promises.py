"""Every promise can be broken, and is then found: each of these generators breaks one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from synthbench.cards import TaskCard
from synthbench.generators import GENERATORS, Examples, Framed, Generator, Language, Place, Task
from synthbench.generators.contract import CHECKS, Sample, malformed
from synthbench.generators.examples import examples
from tests import tiny
from tests.each import each

LANGUAGE = Language(("turn",), 16, 2)
CALLS = count()


class Options(Framed):
    pass


def draw(language: Language, options: Any, item_N: Any, place: Any, split: str) -> Examples:
    name_NS = language.spell(item_N)
    found = examples(language, options.word, name_NS, name_NS[:, ::-1], item_N, "rule")
    return replace(found, rule_answer_NL=found.tokens_NL)


def random_answers(found: Examples, language: Language, syllables: Any) -> Examples:
    """The same items with other answers."""
    tokens_NL = found.tokens_NL.copy()
    tokens_NL[:, 4:6] = language.first_syllable + np.asarray(syllables) % language.syllables
    return replace(found, tokens_NL=tokens_NL, rule_answer_NL=tokens_NL)


def one_prompt(found: Examples, language: Language, place: Any) -> Examples:
    tokens_NL = found.tokens_NL.copy()
    tokens_NL[:, :4] = tokens_NL[:1, :4]
    return replace(found, tokens_NL=tokens_NL, rule_answer_NL=tokens_NL)


def by_the_draw_before(found: Examples, language: Language, place: Any) -> Examples:
    """Answers turn on how many items were trained when the generator last drew some."""
    before, LAST[0] = LAST[0], len(found) if len(found) > 8 else LAST[0]
    return random_answers(found, language, before)


LAST = [0]
Change = Callable[[Examples, Language, Any], Examples]
BREAKS: dict[str, Change] = {
    "sizes": lambda found, language, place: found.take(slice(1, None)),
    "prompts": one_prompt,
    "items": lambda found, language, place: replace(found, item_N=np.arange(len(found))),
    "slices": lambda found, language, place: replace(found, slice_N=found.slice_N + np.int8(1)),
    "held out": lambda found, language, place: replace(found, rule_answer_NL=np.full_like(found.rule_answer_NL, -1)),
    "repeatable": lambda found, language, place: random_answers(found, language, next(CALLS)),
    "global state": lambda found, language, place: random_answers(found, language, random.randrange(10**6)),
    "by item": lambda found, language, place: random_answers(found, language, np.arange(len(found))[:, None]),
    "prefix": lambda found, language, place: random_answers(found, language, len(found)),
    "independent": by_the_draw_before,
    "different": lambda found, language, place: draw(
        language, Options(word="turn"), np.arange(len(found)), place, "train"
    ),
}


def made(
    change: Change = lambda found, language, place: found, items: int = 100, unseen: int = 0, is_unseen: Any = None
) -> Sample:
    """A small task whose rule is `draw` with this change."""

    def changed(language: Language, options: Any, item_N: Any, place: Any, split: str) -> Examples:
        return change(draw(language, options, item_N, place, split), language, place)

    GENERATORS["broken"] = Generator("broken", "for a test", Options, changed, is_unseen=is_unseen)
    part = {"generator": "broken", "word": "turn", "items": items, "share": 3, "unseen": unseen}
    content = tiny.task_card().model_dump(mode="json")
    content["stages"]["pretrain"]["rule"], content["stages"]["finetune"]["rule"] = part, part | {"items": 40}
    content["held_out"] = {"validation": 8, "test": 8}
    return Sample(Task(TaskCard.model_validate(content)))


def broken(sample: Sample) -> set[str]:
    return {check.name for check in CHECKS if check.holds(sample)}


def test_a_sound_generator_breaks_none_and_every_promise_is_broken_here() -> None:
    assert not broken(made())
    assert {check.name for check in CHECKS} == {*BREAKS, "parts", "unseen"}


@each("promise", BREAKS)
def test_a_promise_that_is_broken_is_found(promise: str) -> None:
    assert promise in broken(made(BREAKS[promise]))


def test_too_few_items_to_show_every_part_and_parts_that_are_held_out_in_name_only_are_found() -> None:
    assert broken(made(items=12)) == {"parts"}
    none = made(unseen=2, is_unseen=lambda language, item_N, part_U: np.zeros(len(item_N), dtype=bool))
    assert broken(none) == {"unseen"}
    wrong = made(unseen=2, is_unseen=lambda language, item_N, part_U: item_N % 31 == 0)
    assert "parts" in broken(wrong)


ITEMS = np.arange(5)
FORMS: dict[Callable[[Examples], Any], str] = {
    lambda found: found.tokens_NL: "ndarray",
    lambda found: replace(found, tokens_NL=found.tokens_NL.astype(np.int64)): "tokens_NL int64",
    lambda found: replace(found, bits_N=found.bits_N[:-1]): "bits_N (4,) (5,)",
    lambda found: replace(found, chance_N=[0.1] * 5): "chance_N list",
    lambda found: found.take(slice(None, None, -1)): "item_N order",
    lambda found: replace(found, tokens_NL=found.tokens_NL + 99): "tokens_NL 0 19",
    lambda found: replace(found, bits_N=found.bits_N * np.nan): "bits_N values",
    lambda found: replace(found, answer_NL=np.zeros_like(found.answer_NL)): "answer_NL no",
    lambda found: replace(found, answer_NL=np.ones_like(found.answer_NL)): "answer_NL prompt",
    lambda found: replace(
        found, answer_NL=found.answer_NL & (np.arange(7) != 4 + (found.item_N == 1)[:, None])
    ): "answer_NL place",
    lambda found: replace(found, answer_NL=found.answer_NL & (np.arange(7) < 6)): "end token (2)",
}


@each(("change", "said"), FORMS.items())
def test_examples_in_the_wrong_form_are_described(change: Callable[[Examples], Any], said: str) -> None:
    found = draw(LANGUAGE, Options(word="turn"), ITEMS, Place(0, "", "", ""), "train")
    assert malformed(found, LANGUAGE, ITEMS) is None
    assert all(word in str(malformed(change(found), LANGUAGE, ITEMS)) for word in said.split())
