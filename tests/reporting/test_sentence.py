"""The sentence of a report: a direction only if the paired interval excludes 0, else inconclusive."""

from __future__ import annotations

import re

from synthbench.analysis.statistics import Contrast
from synthbench.analysis.verdict import verdict
from synthbench.reporting.sentence import direction, sentence, words
from tests.analysis.example_rows import CARD, CLEAR_DIFFERENCES, NOISY_DIFFERENCES, SMALL_DIFFERENCES, row
from tests.each import each

LOW_SCORES, HIGH_SCORES, NOISY_SCORES = [0.10, 0.20, 0.30], [0.31, 0.40, 0.52], [0.05, 0.45, 0.25]


def sentence_of(muon: list[float], adamw: list[float]) -> str:
    """The sentence on Muon and AdamW with these rule accuracies by seed."""
    muon_row = row("muon", readings={"rule_accuracy@fit": muon, "forgetting@fit": [0.5, 0.4, 0.6]})
    adamw_readings = {"rule_accuracy@fit": adamw, "forgetting@fit": [0.4, 0.6, 0.5]}
    return sentence([muon_row, row("adamw", readings=adamw_readings, reference=True)], CARD)


def test_a_direction_is_given_where_the_interval_excludes_zero() -> None:
    for text, word, opposite in (
        (sentence_of(HIGH_SCORES, LOW_SCORES), "higher", "lower"),
        (sentence_of(LOW_SCORES, HIGH_SCORES), "lower", "higher"),
    ):
        assert all(phrase in text for phrase in ("Muon", "full", "AdamW", f"rule accuracy {word} by 0.21"))
        assert opposite not in text


def test_without_a_direction_it_is_inconclusive_with_n_and_the_seeds_for_80_percent_power() -> None:
    text = sentence_of(NOISY_SCORES, LOW_SCORES)
    assert re.search(
        r"rule accuracy inconclusive \(difference \+0\.05, 95 % interval -\d\.\d\d to \+\d\.\d\d, n = 3; "
        r"about \d+ seeds for 80 % power\)",
        text,
    )
    equal_mean = [0.20, 0.10, 0.30]
    assert "about 105 seeds" in sentence_of(LOW_SCORES, equal_mean)  # to show equivalence
    assert not re.search("higher|lower|no difference", text)


def test_a_difference_within_the_margin_is_no_difference() -> None:
    text = sentence_of([0.11, 0.195, 0.301], LOW_SCORES)
    assert all(phrase in text for phrase in ("AdamW", "rule accuracy no difference larger than 0.05 (", "+0.00"))
    assert not re.search("higher|lower", text)


@each("seeds", range(3))
def test_two_seeds_are_too_few(seeds: int) -> None:
    text = sentence_of(HIGH_SCORES[:seeds], LOW_SCORES)
    assert f"{seeds} paired seed" in text
    assert not re.search("higher|lower", text)
    assert seeds == 0 or "3" in text


def test_seeds_are_paired() -> None:
    # Unpaired, a difference of 0.01 is small beside the deviation of 0.1 between seeds.
    text = sentence_of([0.11, 0.21, 0.3101], LOW_SCORES)
    assert "rule accuracy higher by 0.01" in text


def test_a_sign_that_changes_with_the_target_step_depends_on_it() -> None:
    muon = row("muon", readings={"rule_accuracy@fit": HIGH_SCORES})
    adamw = row("adamw", readings={"rule_accuracy@fit": LOW_SCORES})
    first = CARD.reading.target_steps[0]
    reversed_steps = {**muon.target_steps["rule_accuracy@fit"], first: {0: 0.0, 1: 0.0, 2: 0.0}}
    muon = muon.model_copy(update={"target_steps": {**muon.target_steps, "rule_accuracy@fit": reversed_steps}})
    assert "depends on the target step" in sentence([muon, adamw], CARD)


def test_a_diverged_row_has_no_comparison() -> None:
    assert "diverged" in sentence([row("muon", lr=None), row("adamw")], CARD)


def test_updates_are_compared_if_there_is_one_optimizer() -> None:
    text = sentence([row("sgd"), row("sgd", "lora-16", {"rule_accuracy@fit": [0.1, 0.11, 0.12]})], CARD)
    assert "SGD (full) against SGD (lora-16)" in text


def test_a_single_row_cannot_be_compared() -> None:
    assert "compared" in sentence([row("muon")], CARD)


def test_the_task_is_named_if_there_are_several() -> None:
    rows = [row("adamw"), row("muon")]
    on_another_task = [row.model_copy(update={"task": "wugs"}) for row in rows]
    assert sentence([*rows, *on_another_task], CARD).startswith("On rote-vs-rule")
    assert "rote-vs-rule" not in sentence(rows, CARD)


@each(
    ("name", "if_higher", "if_lower"),
    [("learning", "better", "worse"), ("forgetting", "worse", "better"), ("fact_recall", "higher", "lower")],
)
def test_words_follow_the_direction_of_the_score(name: str, if_higher: str, if_lower: str) -> None:
    higher, lower = (
        verdict(Contrast(CLEAR_DIFFERENCES), 0.05),
        verdict(Contrast([-value for value in CLEAR_DIFFERENCES]), 0.05),
    )
    assert (direction(higher, name), direction(lower, name)) == (if_higher, if_lower)
    assert words(higher, name, "muon") == f"muon {if_higher}"


def test_words_without_a_direction() -> None:
    assert re.fullmatch("no difference .*0.05", words(verdict(Contrast(SMALL_DIFFERENCES), 0.05), "learning", "muon"))
    assert "3 seeds" in words(verdict(Contrast(CLEAR_DIFFERENCES[:2]), 0.05), "learning", "muon")
    assert words(verdict(Contrast([0.0] * 3), 0.05), "learning", "muon").startswith("no difference")
    assert words(verdict(Contrast(NOISY_DIFFERENCES), 0.05), "learning", "muon").startswith("inconclusive")
    assert re.fullmatch(
        "inconclusive.*1000 seeds.*", words(verdict(Contrast([0.1, -0.1, 0.1, -0.1]), None), "learning", "muon")
    )
