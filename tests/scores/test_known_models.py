"""Models whose behaviour is known, looked at through the real path from tokens to scores.

A model is a function from prompt to answer; its logits are one-hot. Runs of a fleet differ in their seed's data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthbench.execution.observe import ItemSets, Observer, item_sets
from synthbench.generators import Examples, Task, inflection
from synthbench.generators.examples import END, SPECIAL
from synthbench.generators.floors import nearest
from synthbench.scores import Point, at_point
from synthbench.trainer import layout as layouts
from synthbench.trainer import transformer
from synthbench.trainer.fleet import Fleet, initialize
from tests import tiny
from tests.each import each

SEEDS = [0, 1, 2]
TASK = Task(tiny.task_card())
MODEL = transformer.ModelCard(width=8, layers=1, head_width=8)
LAYOUT = layouts.transformer(MODEL, TASK.language.vocabulary, TASK.language.length - 1)
SURE = 40.0  # logit of the token that a model says: its probability is 1 to the last digit

Prompt = tuple[int, ...]
Answer = list[int]
Model = Callable[[int, Prompt], Answer]  # of run k


@pytest.fixture(scope="module")
def sets() -> dict[str, ItemSets]:
    return item_sets(TASK, "finetune", ("pretrain",), SEEDS, TASK.card.size("finetune"))


def said(model: Model) -> Callable[..., Tensor]:
    """In place of the transformer: one-hot logits of what the model answers to each prompt."""

    def logits(card: object, params: object, tokens_KBL: Tensor, first: int = 0) -> Tensor:
        runs, batch, length = tokens_KBL.shape
        logits_KBSV = torch.zeros(runs, batch, length - first, TASK.language.vocabulary)
        for k, items in enumerate(tokens_KBL.tolist()):
            for b, item in enumerate(items):
                for s, token in enumerate(model(k, tuple(item[: first + 1]))):
                    logits_KBSV[k, b, s, token] = SURE
        return logits_KBSV

    return logits


def observer(sets: Mapping[str, ItemSets]) -> Observer:
    return Observer(Fleet(MODEL, LAYOUT, initialize(LAYOUT, MODEL, SEEDS, torch.device("cpu"))), sets)


def looked_at(
    sets: Mapping[str, ItemSets], patch: pytest.MonkeyPatch, before: Model, after: Model
) -> list[dict[str, float]]:
    """The scores of every run when one model became another."""
    observing = observer(sets)
    patch.setattr(transformer, "logits", said(before))
    start: list[Point] = observing.start(8)
    patch.setattr(transformer, "logits", said(after))
    return [at_point(*pair) for pair in zip(start, observing.end(), strict=True)]


def split(examples: Examples) -> list[tuple[Prompt, Answer]]:
    """(prompt, answer) of each example."""
    first = int(examples.answer_NL[0].argmax())
    return [(tuple(row[:first]), row[first:]) for row in examples.tokens_NL.tolist()]


def guess(k: int, prompt: Prompt) -> Answer:
    """A name at random, another one for each prompt."""
    generator = np.random.default_rng([k, *prompt])
    language = TASK.language
    return [*(generator.integers(language.syllables, size=language.name_length) + language.first_syllable), END]


def table(sets: Mapping[str, ItemSets], *names: str) -> Model:
    """Knows the examples of these sets by heart, run by run, and guesses elsewhere."""
    known = [dict(pair for name in names for pair in split(sets[name].examples[k])) for k in range(len(SEEDS))]
    return lambda k, prompt: known[k].get(prompt) or guess(k, prompt)


def rule(shifts: list[int]) -> Model:
    """Inflects whatever it is asked."""
    first = TASK.language.first_syllable

    def answer(k: int, prompt: Prompt) -> Answer:
        stem_NS = np.array([prompt[1:-1]], dtype=np.int32) - first
        return [*(inflection.inflect(stem_NS, shifts, TASK.language.syllables)[0] + first), END]

    return answer


TRAINED = ("new/fact/train", "new/rule/train")
OLD = ("old/fact/train", "old/rule/test")


def test_a_lookup_table_of_what_was_trained_recalls_1_and_generalizes_at_chance(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = looked_at(sets, monkeypatch, guess, table(sets, *TRAINED))
    for scores in every:
        assert scores["fact_recall"] == scores["rule_fit"] == scores["fit"] == 1
    asked_in_all = len(SEEDS) * TASK.card.held_out.test
    chance = 1 / TASK.language.names
    accuracy = np.mean([scores["rule_accuracy"] for scores in every])
    assert accuracy <= chance + 4 * sqrt(chance / asked_in_all)
    assert np.mean([scores["rote_gap"] for scores in every]) > 0.9


def test_the_true_rule_generalizes_1_and_knows_no_fact(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, scores in enumerate(looked_at(sets, monkeypatch, guess, rule([7]))):
        assert scores["rule_accuracy"] == scores["rule_fit"] == 1
        assert scores["fact_recall"] < 0.2
        floors = sets["new/rule/train"].floors[k], sets["new/rule/test"].floors[k]
        assert scores["rote_gap"] == pytest.approx(floors[1] - floors[0])


def test_the_true_rule_answers_by_rule_where_there_is_one_and_nowhere_else(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, "logits", said(rule([7])))
    for point in observer(sets).evaluate(("new/rule/test", "new/fact/train", "old/rule/test")):
        assert point.sets["new/rule/test"].by_rule_N.all()
        assert not point.sets["new/fact/train"].by_rule_N.any()
        assert not point.sets["old/rule/test"].by_rule_N.any()  # the old rule has other shifts


def test_the_old_rule_that_is_overwritten_by_the_new_is_forgotten_and_facts_are_not(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, old, new = table(sets, "old/fact/train"), rule([3, 5]), rule([7])
    is_fact = SPECIAL + TASK.language.words.index("owns")
    before: Model = lambda k, prompt: (facts if prompt[0] == is_fact else old)(k, prompt)
    after: Model = lambda k, prompt: (facts if prompt[0] == is_fact else new)(k, prompt)
    for scores in looked_at(sets, monkeypatch, before, after):
        assert scores["fact_forgetting"] == 0
        assert scores["skill_forgetting"] == 1
        assert scores["forgetting"] == scores["retention"] == 0.5
        # every rule item's loss rose from 0 to the cap, its entropy; one slice of two
        capped = TASK.language.name_bits * log(2) / (TASK.language.name_length + 1)
        assert scores["loss_forgetting"] == pytest.approx(capped / 2, rel=1e-5)


def test_a_model_that_stays_forgets_nothing_and_says_nothing_new(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = table(sets, *OLD)
    for scores in looked_at(sets, monkeypatch, model, model):
        assert scores["forgetting"] == scores["loss_forgetting"] == scores["kl_new"] == 0
        assert scores["retention"] == 1


def test_a_sure_model_that_changes_every_token_moves_by_the_floored_divergence(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every token's probability at 1e-4 or more, normalized: 1 and 1e-4 change places at every answer token."""
    one: Model = lambda k, prompt: [TASK.language.first_syllable] * 3
    other: Model = lambda k, prompt: [TASK.language.first_syllable + 1] * 3
    total = 1 + 1e-4 * (TASK.language.vocabulary - 1)
    for scores in looked_at(sets, monkeypatch, one, other):
        assert scores["kl_new"] == pytest.approx(3 * (1 - 1e-4) / total * log(1e4), rel=1e-4)


@each("place", range(TASK.language.name_length + 1))
def test_an_answer_with_one_wrong_token_anywhere_is_wrong(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """The last place is the end token's; the first is wrong though the rest, given the true prefix, is right."""
    by_heart = table(sets, *TRAINED)

    def slip(k: int, prompt: Prompt) -> Answer:
        answer = list(by_heart(k, prompt))
        answer[place] = 0
        return answer

    for scores in looked_at(sets, monkeypatch, guess, slip):
        assert scores["fact_recall"] == scores["rule_fit"] == scores["learning"] == 0


def test_answering_like_the_nearest_trained_item_scores_exactly_the_nearest_floor(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [split(sets["new/rule/train"].examples[k]) for k in range(len(SEEDS))]

    def neighbour(k: int, prompt: Prompt) -> Answer:
        others = [(known, answer) for known, answer in trained[k] if known != prompt]
        return min(others, key=lambda pair: sum(a != b for a, b in zip(pair[0], prompt, strict=True)))[1]

    for k, scores in enumerate(looked_at(sets, monkeypatch, guess, neighbour)):
        train = sets["new/rule/train"].examples[k]
        assert scores["rule_fit"] == pytest.approx(nearest(train, train))
        assert scores["rule_accuracy"] == pytest.approx(nearest(train, sets["new/rule/test"].examples[k]))


def changed(stages: tuple[str, ...], **options: Any) -> dict[str, ItemSets]:
    """What is asked of the tiny task with another kind of rule, in these stages."""
    found = {"generator": "inflection", "word": "past", "items": 36, "share": 3, **options}
    task = Task(tiny.task_card({f"stages.{stage}.rule": found for stage in stages}))
    assert task.language == TASK.language
    return item_sets(task, "finetune", ("pretrain",), SEEDS, task.card.size("finetune"))


WUGS: dict[str, Any] = {"generator": "wugs", "shifts": [7], "exceptions": 0.25, "repeats": 4}
NOISY: dict[str, Any] = {"generator": "noisy", "shifts": [7], "noise": 0.25}


def test_the_true_rule_spreads_over_every_exception_and_a_table_over_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = changed(("finetune",), **WUGS)
    assert len(found["new/exception/train"].examples[0]) == 9
    for scores in looked_at(found, monkeypatch, guess, rule([7])):
        assert scores["overregularization"] == scores["rule_fit"] == scores["rule_accuracy"] == 1
        assert scores["exception_recall"] == 0
    by_heart = table(found, *TRAINED, "new/exception/train")
    for scores in looked_at(found, monkeypatch, guess, by_heart):
        assert scores["exception_recall"] == scores["fact_recall"] == scores["rule_fit"] == scores["fit"] == 1
        assert scores["overregularization"] == 0
        assert scores["learning"] == pytest.approx((1 + scores["rule_accuracy"] + 1) / 3)


def test_the_true_rule_reads_through_all_noise_and_a_table_through_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = changed(("finetune",), **NOISY)
    assert len(found["new/noise/train"].examples[0]) == 9
    for scores in looked_at(found, monkeypatch, guess, rule([7])):
        assert scores["rule_through_noise"] == scores["rule_accuracy"] == scores["rule_fit"] == 1
        assert scores["noise_recall"] == 0
        assert scores["learning"] == pytest.approx((1 + scores["fact_recall"]) / 2)
    for scores in looked_at(found, monkeypatch, guess, table(found, *TRAINED, "new/noise/train")):
        assert scores["noise_recall"] == scores["fit"] == 1
        assert scores["rule_through_noise"] == 0


def test_a_model_that_knows_the_rule_for_seen_parts_alone_fails_on_unseen_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = changed(("pretrain", "finetune"), shifts=[7], unseen=3)
    trained = [{row[2] for row in found["new/rule/train"].examples[k].tokens_NL.tolist()} for k in range(len(SEEDS))]
    assert all(len(last) == 13 for last in trained)  # of 16 syllables
    knows = rule([7])
    partial: Model = lambda k, prompt: knows(k, prompt) if prompt[2] in trained[k] else [0, 0, END]
    for scores in looked_at(found, monkeypatch, guess, partial):
        assert (scores["rule_accuracy"], scores["unseen_accuracy"]) == (1, 0)
    for scores in looked_at(found, monkeypatch, guess, knows):
        assert (scores["rule_accuracy"], scores["unseen_accuracy"]) == (1, 1)


def test_a_model_that_knows_what_was_seen_most_often_has_the_head_and_not_the_tail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task(tiny.task_card({"stages.finetune.fact.groups": 3, "stages.finetune.fact.items": 14}))
    found = item_sets(task, "finetune", ("pretrain",), SEEDS, task.card.size("finetune"))
    facts = found["new/fact/train"].examples
    head = [dict(split(one.take(np.flatnonzero(one.repeats_N == 4)))) for one in facts]
    assert [len(known) for known in head] == [2] * len(SEEDS)
    model: Model = lambda k, prompt: head[k].get(prompt) or [0, 0, END]
    for scores in looked_at(found, monkeypatch, guess, model):
        assert (scores["head_recall"], scores["tail_recall"]) == (1, 0)
        assert scores["fact_recall"] == pytest.approx(2 / 14)


def test_a_short_answer_is_right_whatever_follows_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found = changed(("pretrain", "finetune"), generator="modular", factors=[1, 1])
    first, syllables = TASK.language.first_syllable, TASK.language.syllables

    def adds(k: int, prompt: Prompt) -> Answer:
        a, b = (token - first for token in prompt[1:3])
        return [(a + b) % syllables + first, END, first]

    for scores in looked_at(found, monkeypatch, guess, adds):
        assert scores["rule_fit"] == scores["rule_accuracy"] == 1
    without_end: Model = lambda k, prompt: [adds(k, prompt)[0], first, END]
    for scores in looked_at(found, monkeypatch, guess, without_end):
        assert scores["rule_fit"] == scores["rule_accuracy"] == 0


def test_a_sure_model_that_knows_every_fact_stores_the_datasets_bits_and_one_that_knows_none_nothing(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    for scores in looked_at(sets, monkeypatch, guess, table(sets, "new/fact/train")):
        assert scores["dataset_bits_per_param"] == pytest.approx(12 * TASK.language.name_bits / LAYOUT.size)
        assert scores["bits_per_param"] == pytest.approx(scores["dataset_bits_per_param"], rel=1e-6)
    for scores in looked_at(sets, monkeypatch, guess, lambda k, prompt: []):
        assert scores["bits_per_param"] == pytest.approx(0, abs=1e-9)
        assert scores["validation_loss"] == pytest.approx(log(TASK.language.vocabulary), rel=1e-5)  # a token


def test_the_stages_own_facts_are_asked_in_training_only_and_old_rules_held_out_only(
    sets: dict[str, ItemSets],
) -> None:
    assert set(sets) == {*TRAINED, *OLD, "new/rule/validation", "new/rule/test"}
