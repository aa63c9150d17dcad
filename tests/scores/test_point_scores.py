"""Every point score, against values computed by hand."""

from __future__ import annotations

from math import exp, log, log2

import pytest

from synthbench.scores import SCORES, at_point
from synthbench.scores.distance import GROUPS
from synthbench.scores.probes import MEASURED
from tests.each import each
from tests.scores.example_observations import Sets, observed, point

NEW = {
    # 4 of 4; 1 nat per item, 0.5 per token
    "new/fact/train": observed("++++", nll=[0, 0, 1, 3], tokens=2, entropy=[log(16)] * 2 + [0, 0]),
    "new/rule/train": observed("+++-", floor=0.25),
    "new/rule/validation": observed("+--------+", nll=6.0, tokens=3),  # 2 of 10; 2 nats per token
    "new/rule/test": observed("++------", floor=0.125, kl=[0.5, 1.5, 4.0]),  # 2 of 8
    "new/rule/unseen": observed("+---"),
}
IRREGULAR = {
    # recalled: 3 of 5; by rule: 1 of 5; 2.5 nats per item, 1.25 per token
    "new/exception/train": observed("+++--", by_rule="---+-", nll=[0, 0, 0.5, 6, 6], tokens=2),
    # recalled: 1 of 4; by rule: 2 of 4; neither: 1 of 4
    "new/noise/train": observed("+---", by_rule="-++-", nll=9.0),
}
BUCKETED = {"new/fact/train": observed("++-" + "+--" + "+---", bucket=[1, 1, 1, 2, 2, 2, 3, 3, 3, 3])}
OLD_BEFORE = {"old/fact/train": observed("++++", nll=[1, 1, 1, 1]), "old/rule/test": observed("++--", nll=[1, 1, 3, 3])}
OLD_AFTER = {
    "old/fact/train": observed("+---", nll=[1, 3, 3, 3]),
    # the first was right and is, the second was right and is answered by the new rule; the third was not right before
    "old/rule/test": observed("+-++", by_rule="-+--", nll=[1, 1, 1, 3]),
}
UPDATE_NORMS = dict(zip(GROUPS, (0.5, 0.25, 0.125), strict=True))

BY_HAND = {
    "fact_recall": 1.0,
    "unseen_accuracy": 0.25,
    # gains of 4, 4, -1 / ln 2 and -3 / ln 2 bits: the maximum over 10001 values of e
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
    "kept": 1 / 2,
    "overwritten": 1 / 2,
    "lost": 0.0,
    "forgetting": (0.75 - 0.25) / 2,
    "retention": ((0.25 + 0.75) / 2) / ((1.0 + 0.5) / 2),
    "loss_forgetting": ((2.5 - 1.0) / 2 + (1.5 - 2.0) / 2) / 2,
    "kl_new": 2.0,
    **{f"update_norm.{group}": moved for group, moved in UPDATE_NORMS.items()},
}


def test_each_point_score_equals_its_formula_by_hand() -> None:
    assert at_point(point(OLD_BEFORE), point(NEW | OLD_AFTER, UPDATE_NORMS, 64)) == pytest.approx(BY_HAND, rel=1e-6)
    in_other_tests = {"head_recall", "tail_recall"} | IRREGULAR_BY_HAND.keys()
    assert BY_HAND.keys() | in_other_tests == {
        score.name for score in SCORES.values() if score.level == "point" and score.name not in MEASURED
    }  # what probes measure is in test_probes


IRREGULAR_BY_HAND = {
    "exception_recall": 3 / 5,
    "overregularization": 1 / 5,
    "noise_recall": 1 / 4,
    "rule_through_noise": 2 / 4,
    "fit": (1.0 + 0.75 + 3 / 5 + 1 / 4) / 4,  # fit includes noise and exceptions
    "learning": (1.0 + 0.25 + 3 / 5) / 3,  # learning includes exceptions, not noise
    "validation_learning": (1.0 + 0.2 + 3 / 5) / 3,
    "validation_loss": (0.5 + 2.0 + 1.25) / 3,
}


def test_exceptions_count_as_learned_and_noise_does_not() -> None:
    scores = at_point(point({}), point(NEW | IRREGULAR))
    assert {name: scores[name] for name in IRREGULAR_BY_HAND} == pytest.approx(IRREGULAR_BY_HAND)


@each(("noise", "nll"), [("----", 0.0), ("++++", 50.0)])
def test_learning_does_not_depend_on_the_answers_to_noise(noise: str, nll: float) -> None:
    scores = at_point(point({}), point(NEW | IRREGULAR | {"new/noise/train": observed(noise, nll=nll)}))
    for name in ("learning", "validation_learning", "validation_loss"):
        assert scores[name] == pytest.approx(IRREGULAR_BY_HAND[name])


def test_head_and_tail_are_recalled_separately() -> None:
    # head: two of three correct; middle: one of three; tail: one of four
    scores = at_point(point({}), point(BUCKETED))
    assert scores["head_recall"] == pytest.approx(2 / 3)
    assert scores["tail_recall"] == 1 / 4
    assert scores["fact_recall"] == 4 / 10
    tail_only = at_point(point({}), point({"new/fact/train": observed("+-", bucket=[3, 3])}))
    assert tail_only["tail_recall"] == 0.5
    assert "head_recall" not in tail_only


def sets_named(*texts: str) -> Sets:
    """The new sets whose name contains one of these texts."""
    return {name: observations for name, observations in NEW.items() if any(text in name for text in texts)}


OLD = {
    "fact_forgetting", "skill_forgetting", "kept", "overwritten", "lost", "forgetting", "loss_forgetting", "retention",
}  # fmt: skip
IRREGULAR_ALONE = {"exception_recall", "overregularization", "noise_recall", "rule_through_noise"}


@each(
    ("sets", "without", "values"),
    [
        (NEW, OLD | IRREGULAR_ALONE | {"head_recall", "tail_recall"}, {"fit": 0.875, "rote_gap": 0.375}),
        ({"new/fact/train": observed("+-")}, {"rule_fit", "rule_accuracy", "rote_gap", "kl_new"},
         dict.fromkeys(("fit", "learning", "validation_learning", "fact_recall"), 0.5)),
        (sets_named("rule"), {"fact_recall"}, {"fit": 0.75, "learning": 0.25}),
        (sets_named("rule") | {"new/noise/train": observed("++++")}, {"fact_recall"},
         {"fit": 0.875, "learning": 0.25, "validation_learning": 0.2, "validation_loss": 2.0}),
        (sets_named("train", "test"), {"validation_learning", "validation_loss", "unseen_accuracy"},
         {"learning": 0.625, "rule_accuracy": 0.25}),
    ],
)  # fmt: skip
def test_unobserved_sets_have_no_score(sets: Sets, without: set[str], values: dict[str, float]) -> None:
    scores = at_point(point({}), point(sets))
    assert not without & scores.keys()
    assert {name: scores[name] for name in values} == pytest.approx(values)


def test_nothing_known_before_leaves_retention_undefined_and_forgetting_zero() -> None:
    unknown = {"old/fact/train": observed("----"), "old/rule/test": observed("--")}
    scores = at_point(point(unknown), point(NEW | unknown))
    assert "retention" not in scores
    assert scores["forgetting"] == 0


FATES = ("kept", "overwritten", "lost")


@each(
    ("before", "after", "by_new_rule", "fates"),
    [
        # of five that were right two still are, one is answered by the new rule, two by neither; the sixth is not counted
        ("+++++-", "++----", "--+--+", (2 / 5, 1 / 5, 2 / 5)),
        # an item that both rules answer alike is kept, and one that was not right before counts nowhere, whatever it is now
        ("++--", "++++", "++++", (1, 0, 0)),
        ("+---", "-+-+", "+-++", (0, 1, 0)),
        ("++++", "----", "----", (0, 0, 1)),
        # none was right before
        ("----", "++--", "--++", None),
        # what is observed now is the beginning of what was observed before: one of two right items is lost, not of four
        ("++++", "+-", "--", (1 / 2, 0, 1 / 2)),
    ],
)
def test_an_old_rule_item_is_kept_overwritten_or_lost(
    before: str, after: str, by_new_rule: str, fates: tuple[float, float, float] | None
) -> None:
    sets = {"old/rule/test": observed(after, by_rule=by_new_rule)}
    scores = at_point(point({"old/rule/test": observed(before)}), point(NEW | sets))
    assert {name: scores[name] for name in FATES if name in scores} == dict(
        zip(FATES, fates, strict=True) if fates else ()
    )


@each(
    ("before", "after", "entropy", "loss"),
    [
        (0.0, 50.0, 4.0, 2.0),  # forgotten: capped at the entropy, 4 nats over 2 tokens
        (0.0, 3.0, 4.0, 1.5),  # below the cap
        (9.0, 50.0, 4.0, 0.0),  # unknown before and after
        (9.0, 1.0, 4.0, -1.5),  # learned: falls from the cap
    ],
)
def test_loss_is_capped_at_the_entropy_before_and_after(
    before: float, after: float, entropy: float, loss: float
) -> None:
    start = point({"old/fact/train": observed("+", nll=before, entropy=entropy)})
    end = point(NEW | {"old/fact/train": observed("+", nll=after, entropy=entropy)})
    assert at_point(start, end)["loss_forgetting"] == pytest.approx(loss)


def test_the_cap_differs_by_item() -> None:
    start = point({"old/fact/train": observed("++", nll=[0, 0], entropy=[1, 6])})
    end = point(NEW | {"old/fact/train": observed("++", nll=[8, 8], entropy=[1, 6])})
    assert at_point(start, end)["loss_forgetting"] == pytest.approx((1 + 6) / 2 / 2)


def test_forgetting_compares_the_sampled_items_only() -> None:
    start = point({"old/fact/train": observed("++--"), "old/rule/test": observed("-+++")})
    end = point(NEW | {"old/fact/train": observed("+-"), "old/rule/test": observed("-")})
    scores = at_point(start, end)
    assert scores["fact_forgetting"] == 1.0 - 0.5
    assert scores["skill_forgetting"] == 0.0


@each(("name", "floor"), [("new/rule/train", 0.5), ("new/rule/test", 0.5)])
def test_a_floor_lowers_the_accuracy_of_its_split(name: str, floor: float) -> None:
    sets = {"new/rule/train": observed("++++"), "new/rule/test": observed("++++")}
    sets[name] = observed("++++", floor=floor)
    assert at_point(point({}), point(sets))["rote_gap"] == (-floor if name.endswith("train") else floor)
