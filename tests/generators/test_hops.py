"""Relations and compositions: by hand, through the table of relations, and out of distribution."""

from __future__ import annotations

import numpy as np
import pytest

from synthbench.generators import GENERATORS, Language, Place, hops
from synthbench.generators.examples import END, EQUALS, PADDING
from tests.each import each
from tests.generators import shipped

LANGUAGE = Language(("is", "then"), 3, 3)
PLACE = Place(0, "task", "stage", "rule")


def options(**changes: object) -> hops.Options:
    return hops.Options.model_validate({"word": "then"} | changes)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relation 0 adds nothing, relation 1 one, relation 2 swaps 0 and 1."""
    known = np.array([[0, 1, 2], [1, 2, 0], [1, 0, 2]])
    monkeypatch.setattr(hops, "relations", lambda language, task: known)


@each(
    ("given", "answer"),
    [
        ({}, [1, 0]),  # 0 under relation 1 is 1, which under relation 2 is 0
        ({"reverse": True}, [1, 2]),  # 0 under relation 2 is 1, which under relation 1 is 2
        ({"silent": True}, [0]),
        ({"reverse": True, "silent": True}, [2]),
        ({"hops": 1}, [1]),
    ],
)
def test_an_answer_is_where_the_relations_lead(table: None, given: dict[str, object], answer: list[int]) -> None:
    examples = hops.draw(LANGUAGE, options(**given), np.array([0 * 9 + 1 * 3 + 2]), PLACE, "train")
    first = LANGUAGE.first_syllable
    padding = [PADDING] * (3 - len(answer))
    prompt = [4, first, first + 1, first + 2, EQUALS]
    assert examples.tokens_NL[0].tolist() == [*prompt, *(first + one for one in answer), END, *padding]
    assert np.array_equal(examples.rule_answer_NL, examples.tokens_NL)


def test_every_relation_is_a_permutation_of_the_entities_and_a_matter_of_the_task_alone() -> None:
    language = Language(("is",), 13, 3)
    table = hops.relations(language, "task")
    assert (np.sort(table, axis=1) == np.arange(13)).all()
    assert len({row.tobytes() for row in table}) == 13
    assert not np.array_equal(table, hops.relations(language, "other"))
    item_N = np.arange(100)
    drawn = [
        hops.draw(language, options(word="is"), item_N, Place(s, "task", p, "rule"), "train")
        for s, p in ((0, "a"), (5, "b"))
    ]
    assert np.array_equal(drawn[0].tokens_NL, drawn[1].tokens_NL)


@each("label", ["two-hop"])
def test_compositions_follow_from_the_facts_that_pretraining_shows(label: str) -> None:
    """Answers every held-out composition with nothing but the trained facts."""
    drawn, first = shipped.draw(label, "pretrain"), shipped.task(label).language.first_syllable
    facts = {tuple(row[1:3]): row[5] for row in drawn["fact"].train.tokens_NL.tolist()}
    assert len(facts) == (shipped.task(label).language.syllables) ** 2
    for stage, is_reversed in (("pretrain", False), ("finetune", True)):
        for split in shipped.draw(label, stage)["rule"]:
            for _, entity, one, other, _, middle, last, *_ in split.tokens_NL.tolist():
                one, other = (other, one) if is_reversed else (one, other)
                assert (facts[entity, one], facts[middle, other]) == (middle, last)
    assert all(token >= first for token in facts.values())


@each("stage", ["pretrain", "finetune"])
def test_unseen_compositions_begin_with_an_entity_that_no_trained_one_begins_with(stage: str) -> None:
    splits = shipped.draw("two-hop", stage)["rule"]
    trained = {*splits.train.tokens_NL[:, 1].tolist()}
    assert not trained & {*splits.unseen.tokens_NL[:, 1].tolist()}
    assert {*splits.test.tokens_NL[:, 1].tolist()} <= trained


def test_too_many_hops_for_the_names_are_refused() -> None:
    check = GENERATORS["hops"].check
    assert check(LANGUAGE, options(hops=2), 9) is None
    assert "hops = 3 must be less than name_length = 3" in str(check(LANGUAGE, options(hops=3), 9))
