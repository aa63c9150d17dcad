"""Every point score on observations whose score is worked out by hand."""

from __future__ import annotations

from math import exp, log, log2

import pytest

from synthbench.scores import SCORES, at_point
from synthbench.scores.forgotten import kept
from synthbench.scores.moved import GROUPS
from tests.each import each
from tests.scores.seen import point, seen

NEW = {
    # 4 of 4; 1 nat an item, 0.5 a token
    "new/fact/train": seen("++++", nll=[0, 0, 1, 3], tokens=2, entropy=[log(16)] * 2 + [0, 0]),
    "new/rule/train": seen("+++-", floor=0.25),
    "new/rule/validation": seen("+--------+", nll=6.0, tokens=3),  # 2 of 10; 2 nats a token
    "new/rule/test": seen("++------", floor=0.125, kl=[0.5, 1.5, 4.0]),  # 2 of 8
    "new/rule/unseen": seen("+---"),
}
IRREGULAR = {
    # recalled: 3 of 5; by rule: 1 of 5; 2.5 nats an item, 1.25 a token
    "new/exception/train": seen("+++--", by_rule="---+-", nll=[0, 0, 0.5, 6, 6], tokens=2),
    # recalled: 1 of 4; by rule: 2 of 4, one of which is not sure of either
    "new/noise/train": seen("+---", by_rule="-++-", nll=9.0),
}
BUCKETED = {"new/fact/train": seen("++-" + "+--" + "+---", bucket=[1, 1, 1, 2, 2, 2, 3, 3, 3, 3])}
OLD_BEFORE = {"old/fact/train": seen("++++", nll=[1, 1, 1, 1]), "old/rule/test": seen("++--", nll=[1, 1, 3, 3])}
OLD_AFTER = {"old/fact/train": seen("+---", nll=[1, 3, 3, 3]), "old/rule/test": seen("+++-", nll=[1, 1, 1, 3])}
MOVED = {"hidden": 0.5, "embedding": 0.25}

BY_HAND = {
    "fact_recall": 1.0,
    "unseen_accuracy": 0.25,
    # gains of 4, 4, -1 / ln 2 and -3 / ln 2 bits: the best of 10001 values of e, found by trying them all
    "bits_per_param": max(
        2 * log2(e + (1 - e) * 16) + log2(e + (1 - e) / exp(1)) + log2(e + (1 - e) / exp(3))
        for e in (i / 10_000 for i in range(10_001))
    )
    / 64,
    "dataset_bits_per_param": 2 * 4 / 64,
    "rule_fit": 0.75,
    "rule_accuracy": 0.25,
    "fit": (1.0 + 0.75) / 2,
    "learning": (1.0 + 0.25) / 2,
    "validation_learning": (1.0 + 0.2) / 2,
    "validation_loss": (0.5 + 2.0) / 2,
    "rote_gap": (0.75 - 0.25) - (0.25 - 0.125),
    "fact_forgetting": 1.0 - 0.25,
    "skill_forgetting": 0.5 - 0.75,
    "forgetting": (0.75 - 0.25) / 2,
    "retention": ((0.25 + 0.75) / 2) / ((1.0 + 0.5) / 2),
    "loss_forgetting": ((2.5 - 1.0) / 2 + (1.5 - 2.0) / 2) / 2,
    "kl_new": 2.0,
    "update_norm.hidden": 0.5,
    "update_norm.embedding": 0.25,
}


@each(("name", "value"), BY_HAND.items())
def test_a_score_is_what_its_formula_gives_by_hand(name: str, value: float) -> None:
    scores = at_point(point(OLD_BEFORE), point(NEW | OLD_AFTER, MOVED, 64))
    assert scores[name] == pytest.approx(value, rel=1e-6)


IRREGULAR_BY_HAND = {
    "exception_recall": 3 / 5,
    "overregularization": 1 / 5,
    "noise_recall": 1 / 4,
    "rule_through_noise": 2 / 4,
    "fit": (1.0 + 0.75 + 3 / 5 + 1 / 4) / 4,  # noise and exceptions are trained: they are fitted
    "learning": (1.0 + 0.25 + 3 / 5) / 3,  # exceptions are wanted, noise is not
    "validation_learning": (1.0 + 0.2 + 3 / 5) / 3,
    "validation_loss": (0.5 + 2.0 + 1.25) / 3,
}


@each(("name", "value"), IRREGULAR_BY_HAND.items())
def test_exceptions_are_wanted_and_noise_is_not(name: str, value: float) -> None:
    assert at_point(point({}), point(NEW | IRREGULAR))[name] == pytest.approx(value)


@each(("noise", "nll"), [("----", 0.0), ("++++", 50.0)])
def test_what_is_wanted_does_not_depend_on_how_noise_is_answered(noise: str, nll: float) -> None:
    scores = at_point(point({}), point(NEW | IRREGULAR | {"new/noise/train": seen(noise, nll=nll)}))
    for name in ("learning", "validation_learning", "validation_loss"):
        assert scores[name] == pytest.approx(IRREGULAR_BY_HAND[name])


def test_a_stage_of_noise_beside_a_rule_is_learned_as_far_as_the_rule_is() -> None:
    sets = {name: found for name, found in NEW.items() if "rule" in name} | {"new/noise/train": seen("++++")}
    scores = at_point(point({}), point(sets))
    assert (scores["learning"], scores["validation_learning"], scores["validation_loss"]) == (0.25, 0.2, 2.0)
    assert scores["fit"] == (0.75 + 1.0) / 2


def test_head_and_tail_are_recalled_apart() -> None:
    # three of the head, two right; three between; four of the tail, one right
    scores = at_point(point({}), point(BUCKETED))
    assert scores["head_recall"] == pytest.approx(2 / 3)
    assert scores["tail_recall"] == 1 / 4
    assert scores["fact_recall"] == 4 / 10


def test_without_buckets_there_is_no_head_and_no_tail_and_with_one_of_them_not_the_other() -> None:
    assert not {"head_recall", "tail_recall"} & at_point(point({}), point(NEW)).keys()
    only = at_point(point({}), point({"new/fact/train": seen("+-", bucket=[3, 3])}))
    assert only["tail_recall"] == 0.5
    assert "head_recall" not in only


def test_what_was_never_observed_has_no_score() -> None:
    applicable = at_point(point({}), point(NEW)).keys()
    assert not {"exception_recall", "overregularization", "noise_recall", "rule_through_noise"} & applicable
    without = at_point(point({}), point({name: found for name, found in NEW.items() if "unseen" not in name}))
    assert "unseen_accuracy" not in without
    assert without["rule_accuracy"] == 0.25


def test_every_point_score_is_worked_out_by_hand_or_does_not_apply() -> None:
    scores = at_point(point(OLD_BEFORE), point(NEW | OLD_AFTER, MOVED, 64))
    assert scores.keys() == BY_HAND.keys()  # no vector was observed to move: no update_norm.vector
    others = {"exception_recall", "overregularization", "noise_recall", "rule_through_noise", "head_recall",
              "tail_recall", "update_norm.vector"}  # fmt: skip
    assert scores.keys() | others == {score.name for score in SCORES.values() if score.level == "point"}


def test_a_first_stage_has_nothing_to_forget() -> None:
    names = at_point(point({}), point(NEW, MOVED)).keys()
    assert {name for name in names if "forgetting" in name or name == "retention"} == set()
    assert {"fact_recall", "rule_accuracy", "rote_gap", "fit", "learning"} <= names


def test_a_stage_of_facts_alone_has_no_rule_and_no_gap() -> None:
    scores = at_point(point({}), point({"new/fact/train": seen("+-")}))
    assert scores["fit"] == scores["learning"] == scores["validation_learning"] == scores["fact_recall"] == 0.5
    assert not {"rule_fit", "rule_accuracy", "rote_gap", "kl_new"} & scores.keys()


def test_a_stage_of_rules_alone_has_no_facts() -> None:
    scores = at_point(point({}), point({name: found for name, found in NEW.items() if "rule" in name}))
    assert "fact_recall" not in scores
    assert scores["fit"] == 0.75
    assert scores["learning"] == 0.25


def test_on_the_way_where_validation_is_not_looked_at_there_is_no_validation_score() -> None:
    scores = at_point(point({}), point({name: found for name, found in NEW.items() if "validation" not in name}))
    assert not {"validation_learning", "validation_loss"} & scores.keys()
    assert scores["learning"] == 0.625


def test_nothing_known_before_leaves_retention_undefined_and_forgetting_zero() -> None:
    nothing = {"old/fact/train": seen("----"), "old/rule/test": seen("--")}
    scores = at_point(point(nothing), point(NEW | nothing))
    assert "retention" not in scores
    assert scores["forgetting"] == 0


@each(
    ("before", "after", "entropy", "loss"),
    [
        (0.0, 50.0, 4.0, 2.0),  # lost: capped at the entropy, 4 nats over 2 tokens
        (0.0, 3.0, 4.0, 1.5),  # below the cap: as measured
        (9.0, 50.0, 4.0, 0.0),  # was never known: nothing to lose
        (9.0, 1.0, 4.0, -1.5),  # learned: from the cap down
    ],
)
def test_the_loss_of_an_item_is_capped_at_its_entropy_before_and_after(
    before: float, after: float, entropy: float, loss: float
) -> None:
    start = point({"old/fact/train": seen("+", nll=before, entropy=entropy)})
    end = point(NEW | {"old/fact/train": seen("+", nll=after, entropy=entropy)})
    assert at_point(start, end)["loss_forgetting"] == pytest.approx(loss)


def test_the_cap_is_each_items_own() -> None:
    start = point({"old/fact/train": seen("++", nll=[0, 0], entropy=[1, 6])})
    end = point(NEW | {"old/fact/train": seen("++", nll=[8, 8], entropy=[1, 6])})
    assert at_point(start, end)["loss_forgetting"] == pytest.approx((1 + 6) / 2 / 2)


def test_forgetting_compares_the_same_items_where_only_a_sample_was_looked_at() -> None:
    start = point({"old/fact/train": seen("++--"), "old/rule/test": seen("-+++")})
    end = point(NEW | {"old/fact/train": seen("+-"), "old/rule/test": seen("-")})
    scores = at_point(start, end)
    assert scores["fact_forgetting"] == 1.0 - 0.5
    assert scores["skill_forgetting"] == 0.0


@each(("name", "floor"), [("new/rule/train", 0.5), ("new/rule/test", 0.5)])
def test_a_floor_counts_against_the_side_it_belongs_to(name: str, floor: float) -> None:
    sets = {"new/rule/train": seen("++++"), "new/rule/test": seen("++++")}
    sets[name] = seen("++++", floor=floor)
    assert at_point(point({}), point(sets))["rote_gap"] == (-floor if name.endswith("train") else floor)


def test_facts_are_kept_if_trained_ones_are_recalled_and_rules_if_held_out_ones_are_answered() -> None:
    assert kept("fact") == "old/fact/train"
    assert kept("rule") == "old/rule/test"


@each("group", GROUPS)
def test_every_group_of_parameters_has_its_update_norm(group: str) -> None:
    assert at_point(point({}), point(NEW, {group: 0.125}))[f"update_norm.{group}"] == 0.125
