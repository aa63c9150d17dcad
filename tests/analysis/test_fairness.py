"""A verdict needs rows that were tuned alike: equally many trials, best rates inside their grids."""

from __future__ import annotations

from typing import Any

import pytest

from synthbench.analysis import claims, fairness, verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.cards import ClaimCard
from synthbench.reporting import sentence
from tests.analysis.example_rows import CARD, CLAIM, CLEAR_DIFFERENCES, row
from tests.each import each

STRICT = CARD.model_copy(update={"stages": [stage.model_copy(update={"extend": 0}) for stage in CARD.stages]})


def tuned(name: str, value: float, **changes: Any) -> Row:
    """A row of four seeds around a value of `learning`, with three trials."""
    learned = [value + difference for difference in CLEAR_DIFFERENCES] if name == "mine" else [value] * 4
    return row(name, readings={"learning": learned}, seeds=4).model_copy(update={"trials": [1, 3]} | changes)


@each(
    ("changes", "why"),
    [
        ({}, None),
        ({"trials": [5, 5]}, "25 trials against 3 trials"),
        ({"trials": [1, 1]}, "1 trial against 3 trials"),
        ({"trials": []}, "an unknown number of trials against 3 trials"),
        ({"edge": True}, "the best rate lies at the edge of the grid of mine"),
        ({"edge_before": True}, "the best rate lies at the edge of the grid of mine"),
    ],
)
def test_a_difference_of_rows_that_were_tuned_otherwise_has_no_verdict(
    changes: dict[str, Any], why: str | None
) -> None:
    judged = verdict.of(Pair(tuned("mine", 0.5, **changes), tuned("adamw", 0.5)), "learning", STRICT)
    assert judged.difference.mean == pytest.approx(sum(CLEAR_DIFFERENCES) / 4)  # shown nonetheless
    assert (judged.kind, judged.why) == (("not comparable", why) if why else ("higher", ""))
    words = sentence.words(judged, "learning", "mine")
    assert words == (f"not comparable: {why}" if why else "mine better")


def test_a_reading_between_rates_chooses_none_in_the_last_stage() -> None:
    at_edge = Pair(tuned("mine", 0.5, edge=True), tuned("adamw", 0.5))
    assert verdict.of(at_edge, "rule_accuracy@fit", STRICT).kind == "identical"
    before = Pair(tuned("mine", 0.5, edge_before=True), tuned("adamw", 0.5))
    assert verdict.of(before, "rule_accuracy@fit", STRICT).kind == "not comparable"


def test_grids_that_one_rule_extended_are_alike_and_so_are_two_folders() -> None:
    longer = Pair(tuned("mine", 0.5, trials=[1, 5]), tuned("adamw", 0.5))
    last = STRICT.stages[-1].model_copy(update={"extend": 2})
    extended = STRICT.model_copy(update={"stages": [*STRICT.stages[:-1], last]})
    assert fairness.unfair(longer, "learning", STRICT) == "5 trials against 3 trials"
    assert fairness.unfair(longer, "learning", extended) is None
    same = Pair(tuned("adamw", 0.5, edge=True), tuned("adamw", 0.5, edge=True))
    assert fairness.unfair(same, "learning", STRICT) is None


def test_a_finding_that_is_not_comparable_is_no_test() -> None:
    pairs = [Pair(tuned("mine", 0.5, trials=trials), tuned("adamw", 0.5)) for trials in ([1, 3], [5, 5])]
    assert [found.p_holm is None for found in verdict.findings(pairs, ["learning"], STRICT)] == [False, True]


def test_the_command_tunes_both_alike() -> None:
    assert fairness.remedy(Pair(tuned("mine", 0.5, trials=[5, 5]), tuned("adamw", 0.5)), STRICT) == (
        "synthbench run quick --optimizer mine,adamw --set tuning=wide"
    )
    assert fairness.remedy(Pair(tuned("mine", 0.5, edge=True), tuned("adamw", 0.5)), STRICT).endswith(
        "--set stages.finetune.extend=3"
    )
    assert fairness.remedy(Pair(tuned("mine", 0.5), tuned("adamw", 0.5, edge_before=True)), STRICT).endswith(
        "--set stages.pretrain.extend=3"
    )


def test_a_claim_leaves_out_tasks_whose_rows_were_tuned_otherwise() -> None:
    claim = ClaimCard.model_validate(CLAIM | {"rows": {"optimizer": "mine"}})
    card = STRICT.model_copy(update={"claims": [claim]})
    rows = [tuned("mine", 0.5, trials=[5, 5]), tuned("adamw", 0.5)]
    (answer,) = claims.answers(card, rows)
    assert (answer.kind, answer.first.missing) == ("not measured", {"rote-vs-rule": "25 trials against 3 trials"})


def test_a_certain_difference_within_the_margin_is_said_to_be_small() -> None:
    values = [0.02, 0.021, 0.019, 0.02]
    rows = row("mine", readings={"learning": values}, seeds=4), row("adamw", readings={"learning": [0.0] * 4}, seeds=4)
    judged = verdict.of(Pair(*rows), "learning", CARD)
    assert sentence.words(judged, "learning", "mine") == "mine better (by less than 0.05)"


def test_a_rate_at_an_edge_counts_where_one_optimizer_is_compared_along_an_axis() -> None:
    """In two folders the same row has the same edges; at two places on an axis it need not."""
    at_edge, inside = (row("adamw").model_copy(update={"edge": is_edge, "trials": [4]}) for is_edge in (True, False))
    assert fairness.unfair(Pair(at_edge, inside), "learning", CARD) is None
    moved = inside.model_copy(update={"axes": {"decay": 0.1}})
    assert (
        fairness.unfair(Pair(at_edge, moved), "learning", CARD) == "the best rate lies at the edge of the grid of adamw"
    )
