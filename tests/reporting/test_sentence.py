"""The sentence of a report: a direction only if the paired interval excludes 0, else inconclusive."""

from __future__ import annotations

import re

from synthbench.analysis.contrast import one_task
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.verdict import of, verdict
from synthbench.cards.runner import VariantCard
from synthbench.reporting.sentence import direction, sentence, words
from tests.analysis.example_rows import CARD, CLEAR_DIFFERENCES, NOISY_DIFFERENCES, SMALL_DIFFERENCES, on_device, row
from tests.each import each

LOW_SCORES, HIGH_SCORES, NOISY_SCORES = [0.10, 0.20, 0.30], [0.31, 0.40, 0.52], [0.05, 0.45, 0.25]


def sentence_of(muon: list[float], adamw: list[float]) -> str:
    """The sentence on Muon and AdamW with these rule accuracies by seed."""
    rows = [row("muon", readings={"rule_accuracy@fit": muon}), row("adamw", readings={"rule_accuracy@fit": adamw})]
    return sentence(rows, CARD)


def with_scores(optimizer: str, **values: list[float]) -> Row:
    """A row with these scores by seed at fit."""
    by_seed = {name: dict(enumerate(of_name)) for name, of_name in values.items()}
    return row(optimizer).model_copy(update={"values": by_seed | {f"{name}@fit": of for name, of in by_seed.items()}})


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
    assert "about 36 seeds" in sentence_of(LOW_SCORES, equal_mean)  # to show equivalence
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


def test_forgetting_of_facts_and_of_skills_are_two_clauses_where_a_task_has_them() -> None:
    facts = {"fact_forgetting": [0.2, 0.21, 0.22], "forgetting": [0.0] * 3}
    skills = {"skill_forgetting": [0.31, 0.3, 0.29]}
    none = {"fact_forgetting": [0.1] * 3, "skill_forgetting": [0.4] * 3}
    text = sentence([with_scores("muon", **facts, **skills), with_scores("adamw", **none)], CARD)
    assert "fact forgetting higher by 0.11 (95 % interval 0.09 to 0.13); skill forgetting lower by 0.10" in text
    assert "rule accuracy" not in text
    assert "skill" not in sentence([with_scores("muon", **facts), with_scores("adamw", **facts)], CARD)


def test_rows_of_two_bases_are_unpaired() -> None:
    rows = [row(name).model_copy(update={"base": [name]}) for name in ("muon", "adamw")]
    assert sentence(rows, CARD).endswith("(unpaired).")
    assert sentence([row("muon"), row("adamw")], CARD).endswith("(paired over seeds).")


def test_an_optimizer_with_another_salt_stands_beside_the_comparison() -> None:
    card = CARD.model_copy(update={"variants": {"adamw-again": VariantCard(of="adamw", salt="again")}})
    muon, adamw, again = (
        with_scores(name, fact_forgetting=[0.2, 0.3, 0.4]) for name in ("muon", "adamw", "adamw-again")
    )
    again = again.model_copy(update={"variant_of": "adamw"})
    assert sentence([muon, adamw, again], card).endswith(
        "(paired over seeds). By chance: fact forgetting, A/A (adamw again): +0.000 [-0.002, +0.002]."
    )
    assert "A/A" not in sentence([muon, adamw], card)


def test_a_score_with_bounds_has_its_median_and_p() -> None:
    """All of six differences are 40, 41, ...: signed ranks of one sign, p = 2 / 2 ** 6. Then AdamW's are bounds."""
    steps = "steps_to_rule@t"
    adamw, muon = ({steps: {seed: 10.0 + more * (40 + seed) for seed in range(6)}} for more in (1, 0))
    rows = [row("muon", seeds=6).model_copy(update={"values": muon}), row("adamw").model_copy(update={"values": adamw})]
    judged = of(Pair(*rows), steps, CARD)
    assert words(judged, steps, "muon") == "muon better (median -42, p = .031)"
    never = rows[1].model_copy(update={"censored": {steps: dict.fromkeys(range(4), ">")}})
    judged = of(Pair(rows[0], never), steps, CARD)
    assert words(judged, steps, "muon").startswith("muon better (median below all that were measured, p = .0")
    assert words(of(Pair(rows[0], on_device("another", rows[0])), steps, CARD), steps, "muon") == (
        "no difference at any seed"
    )
    few = rows[0].model_copy(update={"values": {steps: dict(enumerate([10.0, 9.0, 13.0, 7.0]))}})
    other = rows[1].model_copy(update={"values": {steps: dict.fromkeys(range(4), 10.5)}})
    assert words(of(Pair(few, other), steps, CARD), steps, "muon") == "inconclusive (median -1, p = .625, n = 4)"


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
        verdict(one_task(CLEAR_DIFFERENCES), 0.05),
        verdict(one_task([-value for value in CLEAR_DIFFERENCES]), 0.05),
    )
    assert (direction(higher, name), direction(lower, name)) == (if_higher, if_lower)
    assert words(higher, name, "muon") == f"muon {if_higher}"


def test_words_without_a_direction() -> None:
    assert re.fullmatch("no difference .*0.05", words(verdict(one_task(SMALL_DIFFERENCES), 0.05), "learning", "muon"))
    assert "3 seeds" in words(verdict(one_task(CLEAR_DIFFERENCES[:2]), 0.05), "learning", "muon")
    assert words(verdict(one_task([0.0] * 3), 0.05), "learning", "muon").startswith("no difference")
    assert words(verdict(one_task(NOISY_DIFFERENCES), 0.05), "learning", "muon").startswith("inconclusive")
    assert re.fullmatch(
        "inconclusive.*1000 seeds.*", words(verdict(one_task([0.1, -0.1, 0.1, -0.1]), None), "learning", "muon")
    )
