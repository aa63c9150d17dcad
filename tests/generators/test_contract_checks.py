"""Each check of the contract finds a generator that breaks it."""

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


def draw_reversed(language: Language, options: Any, item_N: Any, place: Any, split: str) -> Examples:
    name_NS = language.spell(item_N)
    drawn = examples(language, options.word, name_NS, name_NS[:, ::-1], item_N, "rule")
    return replace(drawn, rule_answer_NL=drawn.tokens_NL)


def with_answers(drawn: Examples, language: Language, syllables: Any) -> Examples:
    """The same items with these answers."""
    tokens_NL = drawn.tokens_NL.copy()
    tokens_NL[:, 4:6] = language.first_syllable + np.asarray(syllables) % language.syllables
    return replace(drawn, tokens_NL=tokens_NL, rule_answer_NL=tokens_NL)


def with_one_prompt(drawn: Examples, language: Language, place: Any) -> Examples:
    tokens_NL = drawn.tokens_NL.copy()
    tokens_NL[:, :4] = tokens_NL[:1, :4]
    return replace(drawn, tokens_NL=tokens_NL, rule_answer_NL=tokens_NL)


def with_answers_of_last_size(drawn: Examples, language: Language, place: Any) -> Examples:
    """Answers that depend on the number of trained items of the previous call."""
    last_size, LAST[0] = LAST[0], len(drawn) if len(drawn) > 8 else LAST[0]
    return with_answers(drawn, language, last_size)


LAST = [0]
Change = Callable[[Examples, Language, Any], Examples]
BREAKS: dict[str, Change] = {
    "sizes": lambda drawn, language, place: drawn.take(slice(1, None)),
    "distinct": with_one_prompt,
    "apart": lambda drawn, language, place: replace(drawn, item_N=np.arange(len(drawn))),
    "slices": lambda drawn, language, place: replace(drawn, slice_N=drawn.slice_N + np.int8(1)),
    "held_out": lambda drawn, language, place: replace(drawn, rule_answer_NL=np.full_like(drawn.rule_answer_NL, -1)),
    "repeatable": lambda drawn, language, place: with_answers(drawn, language, next(CALLS)),
    "global_state": lambda drawn, language, place: with_answers(drawn, language, random.randrange(10**6)),
    "by_item": lambda drawn, language, place: with_answers(drawn, language, np.arange(len(drawn))[:, None]),
    "prefix": lambda drawn, language, place: with_answers(drawn, language, len(drawn)),
    "independent": with_answers_of_last_size,
    "different": lambda drawn, language, place: draw_reversed(
        language, Options(word="turn"), np.arange(len(drawn)), place, "train"
    ),
}


def sample_of(
    change: Change = lambda drawn, language, place: drawn, items: int = 100, unseen: int = 0, is_unseen: Any = None
) -> Sample:
    """A small task whose rule is `draw_reversed` with this change."""

    def draw_changed(language: Language, options: Any, item_N: Any, place: Any, split: str) -> Examples:
        return change(draw_reversed(language, options, item_N, place, split), language, place)

    GENERATORS["broken"] = Generator("broken", "for a test", Options, draw_changed, is_unseen=is_unseen)
    slice_options = {"generator": "broken", "word": "turn", "items": items, "share": 3, "unseen": unseen}
    content = tiny.task_card().model_dump(mode="json")
    content["stages"]["pretrain"]["rule"] = slice_options
    content["stages"]["finetune"]["rule"] = slice_options | {"items": 40}
    content["held_out"] = {"validation": 8, "test": 8}
    return Sample(Task(TaskCard.model_validate(content)))


def broken_checks(sample: Sample) -> set[str]:
    return {check.__name__ for check in CHECKS if next(check(sample), None)}


def test_a_valid_generator_passes_all_checks_and_each_check_has_a_case() -> None:
    assert not broken_checks(sample_of())
    assert {check.__name__ for check in CHECKS} == {*BREAKS, "parts", "unseen"}


@each("check", BREAKS)
def test_a_broken_generator_fails_its_check(check: str) -> None:
    assert check in broken_checks(sample_of(BREAKS[check]))


def seeded_numpy() -> int:
    np.random.seed(0)
    return np.random.randint(10**6)


@each("number", [np.random.random, lambda: random.seed(3), seeded_numpy, lambda: np.random.randint(10**6)])
def test_global_random_numbers_are_neither_read_nor_changed(number: Callable[[], Any]) -> None:
    assert "global_state" in broken_checks(
        sample_of(lambda drawn, language, place: with_answers(drawn, language, int(number() or 0)))
    )


def test_untrained_parts_and_parts_that_are_not_held_out_fail_their_checks() -> None:
    assert broken_checks(sample_of(items=12)) == {"parts"}
    nothing_held_out = sample_of(
        unseen=2, is_unseen=lambda language, options, item_N, part_U: np.zeros(len(item_N), dtype=bool)
    )
    assert broken_checks(nothing_held_out) == {"unseen"}
    held_out_by_item = sample_of(unseen=2, is_unseen=lambda language, options, item_N, part_U: item_N % 31 == 0)
    assert "parts" in broken_checks(held_out_by_item)


ITEMS = np.arange(5)
FORMS: dict[Callable[[Examples], Any], str] = {
    lambda drawn: drawn.tokens_NL: "ndarray",
    lambda drawn: replace(drawn, tokens_NL=drawn.tokens_NL.astype(np.int64)): "tokens_NL int64",
    lambda drawn: replace(drawn, bits_N=drawn.bits_N[:-1]): "bits_N (4,) (5,)",
    lambda drawn: replace(drawn, chance_N=[0.1] * 5): "chance_N list",
    lambda drawn: drawn.take(slice(None, None, -1)): "item_N order",
    lambda drawn: replace(drawn, tokens_NL=drawn.tokens_NL + 99): "tokens_NL 0 19",
    lambda drawn: replace(drawn, bits_N=drawn.bits_N * np.nan): "bits_N values",
    lambda drawn: replace(drawn, answer_NL=np.zeros_like(drawn.answer_NL)): "answer_NL no",
    lambda drawn: replace(drawn, answer_NL=np.ones_like(drawn.answer_NL)): "answer_NL prompt",
    lambda drawn: replace(
        drawn, answer_NL=drawn.answer_NL & (np.arange(7) != 4 + (drawn.item_N == 1)[:, None])
    ): "answer_NL place",
    lambda drawn: replace(drawn, answer_NL=drawn.answer_NL & (np.arange(7) < 6)): "end token (2)",
}


@each(("change", "message"), FORMS.items())
def test_malformed_examples_are_described(change: Callable[[Examples], Any], message: str) -> None:
    drawn = draw_reversed(LANGUAGE, Options(word="turn"), ITEMS, Place(0, "", "", ""), "train")
    assert malformed(drawn, LANGUAGE, ITEMS) is None
    assert all(word in str(malformed(change(drawn), LANGUAGE, ITEMS)) for word in message.split())
