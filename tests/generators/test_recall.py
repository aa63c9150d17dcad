"""Recall: answers against a plain reading of the prompt, one example at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np

from synthbench.generators import GENERATORS, Language, Place, recall
from tests.each import each
from tests.generators import shipped, small

LANGUAGE = Language(("get",), 4, 6)


def read(name: list[int], queries: int, which: str) -> list[int]:
    """What a dictionary makes of the pairs."""
    pairs = [(name[i], name[i + 1]) for i in range(0, len(name) - queries, 2)]
    known = dict(pairs if which == "last" else pairs[::-1])
    return [known.get(query, query) for query in name[-queries:]]


@each(
    ("name", "which", "answer"),
    [
        ([0, 1, 0, 2, 0, 3], "last", [2, 3]),
        ([0, 1, 0, 2, 0, 3], "first", [1, 3]),
        ([3, 1, 0, 0, 3, 0], "last", [1, 0]),
        ([0, 0, 1, 1, 2, 3], "last", [2, 3]),
    ],
)
def test_the_answer_is_the_value_of_the_pair_that_counts_or_the_query(
    name: list[int], which: Literal["first", "last"], answer: list[int]
) -> None:
    options = recall.Options(word="get", which=which)
    assert recall.recalled(np.array([name], dtype=np.int32), options).tolist() == [answer]


@each("which", ["first", "last"])
@each("queries", [2, 4, 6])
def test_every_prompt_is_answered_as_it_reads(which: Literal["first", "last"], queries: int) -> None:
    options = recall.Options(word="get", queries=queries, which=which)
    item_N = np.arange(LANGUAGE.names)
    drawn = recall.draw(LANGUAGE, options, item_N, Place(0, "t", "s", "rule"), "train")
    expected = [read(name, queries, which) for name in LANGUAGE.spell(item_N).tolist()]
    assert (small.answer_syllables(drawn) - LANGUAGE.first_syllable).tolist() == expected


def test_prompts_that_are_no_pairs_and_queries_are_refused() -> None:
    check = GENERATORS["recall"].check
    assert check(LANGUAGE, recall.Options(word="get", queries=2), 9) is None
    assert "queries = 3 leave 3 of 6" in str(check(LANGUAGE, recall.Options(word="get", queries=3), 9))
    assert "queries = 7 are more" in str(check(LANGUAGE, recall.Options(word="get", queries=7), 9))


def test_old_questions_under_the_new_rule_have_another_answer_where_a_key_has_two_values() -> None:
    """`overwritten` counts old items that the new rule answers: it must be told from the old one."""
    task, (old, *_) = shipped.task("recall"), [shipped.draw("recall", "pretrain")["rule"].test]
    by_new = task.by_rule_of("finetune", 0, old)
    differs = (by_new.rule_answer_NL != old.tokens_NL).any(1)
    assert 0.1 < differs.mean() < 0.9
    pairs = task.language.spell(old.item_N)[:, :6:2]
    has_two = np.array([len({*row}) < 3 for row in pairs.tolist()])
    assert not (differs & ~has_two).any()
