"""Verdicts: what paired differences decide, and that the words respect a score's direction."""

from __future__ import annotations

import re
from math import inf, isnan

import pytest

from synthbench.analysis.pairing import Pair
from synthbench.analysis.statistics import detectable, seeds_for_equivalence, seeds_needed
from synthbench.analysis.verdict import of, verdict
from synthbench.cards import RunnerCard, parse
from synthbench.common.errors import BadInput
from synthbench.reporting.sentence import direction, words
from tests.each import each
from tests.reporting.made import CARD, row

CLEAR, NOISY, SMALL = [0.21, 0.20, 0.22, 0.19], [0.3, -0.2, 0.25, -0.1], [0.011, -0.012, 0.004, -0.001]


@each(
    ("paired", "margin", "kind"),
    [
        (CLEAR, 0.05, "higher"),
        (CLEAR[:3], 0.05, "higher"),
        ([-one for one in CLEAR], 0.05, "lower"),
        (NOISY, 0.05, "inconclusive"),
        (SMALL, 0.05, "equal"),
        (SMALL, None, "inconclusive"),
        ([0.0, 0.0, 0.0], None, "identical"),
        (CLEAR[:2], 0.05, "too few seeds"),
        ([], 0.05, "too few seeds"),
        ([0.02, 0.02, 0.02], 0.05, "higher"),
    ],
)
def test_every_kind_of_verdict(paired: list[float], margin: float | None, kind: str) -> None:
    assert verdict(paired, margin).kind == kind


def test_a_direction_whose_sign_changes_with_the_speed_depends_on_it() -> None:
    assert verdict(CLEAR, 0.05, {True, False}).kind == "depends on target step"
    assert verdict(CLEAR, 0.05, {True}).kind == "higher"
    assert verdict(NOISY, 0.05, {True, False}).kind == "inconclusive"


def test_what_is_undecided_has_the_seeds_that_would_tell_and_what_is_decided_has_none() -> None:
    found = verdict(NOISY, 0.05)
    assert 4 < found.seeds <= seeds_needed(NOISY)
    assert verdict(NOISY, None).seeds == seeds_needed(NOISY)
    assert found.detectable == pytest.approx(detectable(0.2496, 4), rel=1e-3)
    assert isnan(verdict(CLEAR, 0.05).seeds)
    assert verdict([0.1, -0.1, 0.1, -0.1], None).seeds == inf
    assert verdict([0.1, -0.1, 0.1, -0.1], 0.05).seeds == seeds_for_equivalence([0.1, -0.1, 0.1, -0.1], 0.05) < 100


@each(
    ("name", "if_higher", "if_lower"),
    [("learning", "better", "worse"), ("forgetting", "worse", "better"), ("fact_recall", "higher", "lower")],
)
def test_words_respect_the_direction(name: str, if_higher: str, if_lower: str) -> None:
    higher, lower = verdict(CLEAR, 0.05), verdict([-one for one in CLEAR], 0.05)
    assert (direction(higher, name), direction(lower, name)) == (if_higher, if_lower)
    assert words(higher, name, "muon") == f"muon {if_higher}"


def test_words_of_what_is_not_a_direction() -> None:
    assert re.fullmatch("no difference .*0.05", words(verdict(SMALL, 0.05), "learning", "muon"))
    assert "3 seeds" in words(verdict(CLEAR[:2], 0.05), "learning", "muon")
    assert words(verdict([0.0] * 3, 0.05), "learning", "muon").startswith("no difference")
    assert words(verdict(NOISY, 0.05), "learning", "muon").startswith("inconclusive")
    assert re.fullmatch("inconclusive.*1000 seeds.*", words(verdict([0.1, -0.1, 0.1, -0.1], None), "learning", "muon"))


def test_the_margin_is_the_card_s_for_the_score_s_unit() -> None:
    pair = Pair(row("muon"), row("adamw"))
    card = CARD.model_copy(update={"margins": {"share": 0.02}})
    assert of(pair, "learning", card).margin == 0.02
    assert of(pair, "loss_forgetting", card).margin is None


def test_a_card_s_margins_stand_beside_those_of_other_units_and_change_no_experiment() -> None:
    content = CARD.model_dump(mode="json", by_alias=True) | {"margins": {"share": 0.02}, "tier": "learning"}
    card = parse(RunnerCard, content, "a card")
    assert card.margins == {"share": 0.02, "nats/token": 0.1, "nats/answer": 0.1}
    assert card.fingerprint() == CARD.fingerprint()
    with pytest.raises(BadInput, match=r"margins\.share"):
        parse(RunnerCard, content | {"margins": {"share": 0}}, "a card")


def test_the_signs_are_those_at_the_card_s_speeds() -> None:
    own = row("muon", readings={"rote_gap@fit": [0.4, 0.5, 0.61]})
    other = row("adamw", readings={"rote_gap@fit": [0.2, 0.3, 0.4]})
    assert of(Pair(own, other), "rote_gap@fit", CARD).kind == "higher"
    turned = {**own.target_steps["rote_gap@fit"], CARD.reading.target_steps[0]: {0: 0.0, 1: 0.0, 2: 0.0}}
    own = own.model_copy(update={"target_steps": {**own.target_steps, "rote_gap@fit": turned}})
    assert of(Pair(own, other), "rote_gap@fit", CARD).kind == "depends on target step"
