"""Models of known behaviour, evaluated from tokens to scores.

A model is a function from prompt to answer; its logits are one-hot. The runs of a fleet differ in the data of their seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, log2, sqrt
from typing import Any, Literal

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
WORDS = ["owns", "past", "will"]  # of this language whatever the slices use
TASK = Task(tiny.task_card({"language.words": WORDS}))
NAME_BITS = TASK.language.name_length * log2(TASK.language.syllables)
MODEL = transformer.ModelCard(width=8, layers=1, head_width=8)
LAYOUT = layouts.transformer(MODEL, TASK.language.vocabulary, TASK.language.length - 1)
SURE = 40.0  # logit of the answered token: its probability is 1 in float32

Prompt = tuple[int, ...]
Answer = list[int]
Model = Callable[[int, Prompt], Answer]  # (run k, prompt) -> answer


@pytest.fixture(scope="module")
def sets() -> dict[str, ItemSets]:
    return item_sets(TASK, "finetune", ("pretrain",), SEEDS, TASK.card.size("finetune"))


def logits_of(model: Model) -> Callable[..., Tensor]:
    """A replacement of the transformer: one-hot logits of the model's answers."""

    def logits(card: object, params: object, tokens_KBL: Tensor, first: int = 0) -> Tensor:
        runs, batch, length = tokens_KBL.shape
        logits_KBSV = torch.zeros(runs, batch, length - first, TASK.language.vocabulary)
        for k, items in enumerate(tokens_KBL.tolist()):
            for b, item in enumerate(items):
                for s, token in enumerate(model(k, tuple(item[: first + 1]))):
                    logits_KBSV[k, b, s, token] = SURE
        return logits_KBSV

    return logits


def make_observer(sets: Mapping[str, ItemSets]) -> Observer:
    return Observer(Fleet(MODEL, LAYOUT, initialize(LAYOUT, MODEL, SEEDS, torch.device("cpu"))), sets)


def scores_of_runs(
    sets: Mapping[str, ItemSets], monkeypatch: pytest.MonkeyPatch, before: Model, after: Model
) -> list[dict[str, float]]:
    """The scores of every run, evaluated on one model before and on another after."""
    observer = make_observer(sets)
    monkeypatch.setattr(transformer, "logits", logits_of(before))
    start: list[Point] = observer.start(8)
    monkeypatch.setattr(transformer, "logits", logits_of(after))
    return [at_point(*pair) for pair in zip(start, observer.end(), strict=True)]


def split(examples: Examples) -> list[tuple[Prompt, Answer]]:
    """(prompt, answer) of each example."""
    first = int(examples.answer_NL[0].argmax())
    return [(tuple(row[:first]), row[first:]) for row in examples.tokens_NL.tolist()]


def guess_answer(k: int, prompt: Prompt) -> Answer:
    """A random name, different by run and prompt."""
    generator = np.random.default_rng([k, *prompt])
    language = TASK.language
    return [*(generator.integers(language.syllables, size=language.name_length) + language.first_syllable), END]


def lookup_table(sets: Mapping[str, ItemSets], *names: str) -> Model:
    """A model that answers the examples of these sets correctly and guesses elsewhere."""
    known = [dict(pair for name in names for pair in split(sets[name].examples[k])) for k in range(len(SEEDS))]
    return lambda k, prompt: known[k].get(prompt) or guess_answer(k, prompt)


def inflecting(shifts: list[int], moves: Literal["first", "last"] = "last") -> Model:
    """A model that inflects every prompt."""
    first, options = TASK.language.first_syllable, inflection.Options(word="any", shifts=shifts, moves=moves)

    def answer(k: int, prompt: Prompt) -> Answer:
        stem_NS = np.array([prompt[1:-1]], dtype=np.int32) - first
        return [*(inflection.inflect(stem_NS, options, TASK.language.syllables)[0] + first), END]

    return answer


TRAINED = ("new/fact/train", "new/rule/train")
OLD = ("old/fact/train", "old/rule/test")


def test_a_lookup_table_recalls_every_item_and_generalizes_at_chance(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_by_run = scores_of_runs(sets, monkeypatch, guess_answer, lookup_table(sets, *TRAINED))
    for scores in scores_by_run:
        assert scores["fact_recall"] == scores["rule_fit"] == scores["fit"] == 1
    answer_count = len(SEEDS) * TASK.card.held_out.test
    chance = 1 / TASK.language.names
    accuracy = np.mean([scores["rule_accuracy"] for scores in scores_by_run])
    assert accuracy <= chance + 4 * sqrt(chance / answer_count)
    assert np.mean([scores["rote_gap"] for scores in scores_by_run]) > 0.9


def test_the_true_rule_has_accuracy_1_and_recalls_no_fact(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, scores in enumerate(scores_of_runs(sets, monkeypatch, guess_answer, inflecting([7]))):
        assert scores["rule_accuracy"] == scores["rule_fit"] == 1
        assert scores["fact_recall"] < 0.2
        floors = sets["new/rule/train"].floors[k], sets["new/rule/test"].floors[k]
        assert scores["rote_gap"] == pytest.approx(floors[1] - floors[0])


def test_the_true_rule_answers_its_own_and_old_rule_items_by_rule_and_no_fact(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("new/rule/test", "new/fact/train", "old/rule/test")
    monkeypatch.setattr(transformer, "logits", logits_of(inflecting([7])))
    for point in make_observer(sets).evaluate(dict.fromkeys(names, slice(None))):
        assert point.sets["new/rule/test"].by_rule_N.all()
        assert point.sets["old/rule/test"].by_rule_N.all()  # of old items, the new rule's answer
        assert not point.sets["old/rule/test"].correct_N.any()  # the old rule has different shifts
        assert not point.sets["new/fact/train"].by_rule_N.any()


def test_an_overwritten_rule_is_forgotten_and_facts_are_not(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    fact_table, old_rule, new_rule = lookup_table(sets, "old/fact/train"), inflecting([3, 5]), inflecting([7])
    is_fact = SPECIAL + TASK.language.words.index("owns")
    before: Model = lambda k, prompt: (fact_table if prompt[0] == is_fact else old_rule)(k, prompt)
    after: Model = lambda k, prompt: (fact_table if prompt[0] == is_fact else new_rule)(k, prompt)
    for scores in scores_of_runs(sets, monkeypatch, before, after):
        assert scores["fact_forgetting"] == 0
        assert scores["skill_forgetting"] == 1
        assert (scores["kept"], scores["overwritten"], scores["lost"]) == (0, 1, 0)
        assert scores["forgetting"] == scores["retention"] == 0.5
        # in one of two slices every loss rises from 0 to the cap, the entropy
        capped = NAME_BITS * log(2) / (TASK.language.name_length + 1)
        assert scores["loss_forgetting"] == pytest.approx(capped / 2, rel=1e-5)


def test_an_unchanged_model_forgets_nothing(sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch) -> None:
    model = lookup_table(sets, *OLD)
    for scores in scores_of_runs(sets, monkeypatch, model, model):
        assert scores["forgetting"] == scores["loss_forgetting"] == scores["kl_new"] == 0
        assert scores["retention"] == scores["kept"] == 1
        assert scores["overwritten"] == scores["lost"] == 0


@each("word", ["past", "will"])
@each("generator", ["inflection", "noisy", "wugs"])
def test_a_model_that_answers_old_items_by_the_new_rule_overwrites_and_one_by_the_old_rule_keeps(
    monkeypatch: pytest.MonkeyPatch, generator: str, word: str
) -> None:
    """Whether or not the new rule has the old one's word: old items are asked under theirs."""
    options: dict[str, Any] = {"inflection": {}, "noisy": {"noise": 0.25}, "wugs": {"exceptions": 0.25}}[generator]
    sets = item_sets_with(("finetune",), generator=generator, word=word, shifts=[7], moves="first", **options)
    old_rule, new_rule = inflecting([3, 5]), inflecting([7], "first")
    neither = inflecting([7])  # the new rule's shift, of the syllable that the old rule moves
    is_old = SPECIAL + TASK.language.words.index("past")
    both: Model = lambda k, prompt: (old_rule if prompt[0] == is_old else new_rule)(k, prompt)
    halved: Model = lambda k, prompt: (old_rule, new_rule)[prompt[1] % 2](k, prompt)
    for after, fates in ((new_rule, (0, 1, 0)), (old_rule, (1, 0, 0)), (both, (1, 0, 0)), (neither, (0, 0, 1))):
        for scores in scores_of_runs(sets, monkeypatch, old_rule, after):
            assert (scores["kept"], scores["overwritten"], scores["lost"]) == fates
            assert scores["skill_forgetting"] == 1 - scores["kept"]
    for k, scores in enumerate(scores_of_runs(sets, monkeypatch, old_rule, halved)):
        first_N = sets["old/rule/test"].examples[k].tokens_NL[:, 1]
        assert (scores["kept"], scores["overwritten"]) == pytest.approx(
            ((first_N % 2 == 0).mean(), (first_N % 2).mean())
        )
        assert scores["lost"] == 0


def test_changing_every_token_gives_the_floored_divergence(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probabilities are floored at 1e-4 and normalized. At each answer token the two models swap 1 and 1e-4."""
    before: Model = lambda k, prompt: [TASK.language.first_syllable] * 3
    after: Model = lambda k, prompt: [TASK.language.first_syllable + 1] * 3
    normalizer = 1 + 1e-4 * (TASK.language.vocabulary - 1)
    for scores in scores_of_runs(sets, monkeypatch, before, after):
        assert scores["kl_new"] == pytest.approx(3 * (1 - 1e-4) / normalizer * log(1e4), rel=1e-4)


@each("position", range(TASK.language.name_length + 1))
def test_an_answer_with_one_wrong_token_anywhere_is_wrong(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """The last position is the end token. Later tokens are correct, for they are predicted from the true prefix."""
    lookup = lookup_table(sets, *TRAINED)

    def with_wrong_token(k: int, prompt: Prompt) -> Answer:
        answer = list(lookup(k, prompt))
        answer[position] = 0
        return answer

    for scores in scores_of_runs(sets, monkeypatch, guess_answer, with_wrong_token):
        assert scores["fact_recall"] == scores["rule_fit"] == scores["learning"] == 0


def test_the_answer_of_the_nearest_trained_item_has_the_nearest_floor(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [split(sets["new/rule/train"].examples[k]) for k in range(len(SEEDS))]

    def neighbour(k: int, prompt: Prompt) -> Answer:
        others = [(known, answer) for known, answer in trained[k] if known != prompt]
        return min(others, key=lambda pair: sum(a != b for a, b in zip(pair[0], prompt, strict=True)))[1]

    for k, scores in enumerate(scores_of_runs(sets, monkeypatch, guess_answer, neighbour)):
        train = sets["new/rule/train"].examples[k]
        assert scores["rule_fit"] == pytest.approx(nearest(train, train))
        assert scores["rule_accuracy"] == pytest.approx(nearest(train, sets["new/rule/test"].examples[k]))


def item_sets_with(stages: tuple[str, ...], **options: Any) -> dict[str, ItemSets]:
    """The item sets of the tiny task with another rule in these stages."""
    rule_options = {"generator": "inflection", "word": "past", "items": 36, "share": 3, **options}
    task = Task(tiny.task_card({"language.words": WORDS} | {f"stages.{stage}.rule": rule_options for stage in stages}))
    assert task.language == TASK.language
    return item_sets(task, "finetune", ("pretrain",), SEEDS, task.card.size("finetune"))


WUGS: dict[str, Any] = {"generator": "wugs", "shifts": [7], "exceptions": 0.25, "repeats": 4}
NOISY: dict[str, Any] = {"generator": "noisy", "shifts": [7], "noise": 0.25}


def test_the_true_rule_overregularizes_every_exception_and_a_table_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = item_sets_with(("finetune",), **WUGS)
    assert len(sets["new/exception/train"].examples[0]) == 9
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, inflecting([7])):
        assert scores["overregularization"] == scores["rule_fit"] == scores["rule_accuracy"] == 1
        assert scores["exception_recall"] == 0
    lookup = lookup_table(sets, *TRAINED, "new/exception/train")
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, lookup):
        assert scores["exception_recall"] == scores["fact_recall"] == scores["rule_fit"] == scores["fit"] == 1
        assert scores["overregularization"] == 0
        assert scores["learning"] == pytest.approx((1 + scores["rule_accuracy"] + 1) / 3)


def test_the_true_rule_ignores_all_noise_and_a_table_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = item_sets_with(("finetune",), **NOISY)
    assert len(sets["new/noise/train"].examples[0]) == 9
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, inflecting([7])):
        assert scores["rule_through_noise"] == scores["rule_accuracy"] == scores["rule_fit"] == 1
        assert scores["noise_recall"] == 0
        assert scores["learning"] == pytest.approx((1 + scores["fact_recall"]) / 2)
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, lookup_table(sets, *TRAINED, "new/noise/train")):
        assert scores["noise_recall"] == scores["fit"] == 1
        assert scores["rule_through_noise"] == 0


def test_a_rule_known_for_trained_parts_only_fails_on_unseen_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = item_sets_with(("pretrain", "finetune"), shifts=[7], unseen=3)
    trained_syllables = [
        {row[2] for row in sets["new/rule/train"].examples[k].tokens_NL.tolist()} for k in range(len(SEEDS))
    ]
    assert all(len(last) == 13 for last in trained_syllables)  # of 16 syllables
    rule_model = inflecting([7])
    partial: Model = lambda k, prompt: rule_model(k, prompt) if prompt[2] in trained_syllables[k] else [0, 0, END]
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, partial):
        assert (scores["rule_accuracy"], scores["unseen_accuracy"]) == (1, 0)
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, rule_model):
        assert (scores["rule_accuracy"], scores["unseen_accuracy"]) == (1, 1)


def test_a_model_that_knows_the_most_frequent_facts_recalls_the_head_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"language.words": WORDS, "stages.finetune.fact.groups": 3, "stages.finetune.fact.items": 14}
    task = Task(tiny.task_card(changes))
    sets = item_sets(task, "finetune", ("pretrain",), SEEDS, task.card.size("finetune"))
    facts = sets["new/fact/train"].examples
    head = [dict(split(examples.take(np.flatnonzero(examples.repeats_N == 4)))) for examples in facts]
    assert [len(known) for known in head] == [2] * len(SEEDS)
    model: Model = lambda k, prompt: head[k].get(prompt) or [0, 0, END]
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, model):
        assert (scores["head_recall"], scores["tail_recall"]) == (1, 0)
        assert scores["fact_recall"] == pytest.approx(2 / 14)


def test_tokens_after_the_end_of_an_answer_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = item_sets_with(("pretrain", "finetune"), generator="modular", factors=[1, 1])
    first, syllables = TASK.language.first_syllable, TASK.language.syllables

    def adds(k: int, prompt: Prompt) -> Answer:
        a, b = (token - first for token in prompt[1:3])
        return [(a + b) % syllables + first, END, first]

    for scores in scores_of_runs(sets, monkeypatch, guess_answer, adds):
        assert scores["rule_fit"] == scores["rule_accuracy"] == 1
    without_end: Model = lambda k, prompt: [adds(k, prompt)[0], first, END]
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, without_end):
        assert scores["rule_fit"] == scores["rule_accuracy"] == 0


def test_a_model_that_knows_every_fact_stores_the_bits_of_the_dataset(
    sets: dict[str, ItemSets], monkeypatch: pytest.MonkeyPatch
) -> None:
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, lookup_table(sets, "new/fact/train")):
        assert scores["dataset_bits_per_param"] == pytest.approx(12 * NAME_BITS / LAYOUT.size)
        assert scores["bits_per_param"] == pytest.approx(scores["dataset_bits_per_param"], rel=1e-6)
    for scores in scores_of_runs(sets, monkeypatch, guess_answer, lambda k, prompt: []):
        assert scores["bits_per_param"] == pytest.approx(0, abs=1e-9)
        assert scores["validation_loss"] == pytest.approx(log(TASK.language.vocabulary), rel=1e-5)  # per token


def test_facts_are_evaluated_on_training_items_and_old_rules_on_held_out_items(
    sets: dict[str, ItemSets],
) -> None:
    assert set(sets) == {*TRAINED, *OLD, "new/rule/validation", "new/rule/test"}
