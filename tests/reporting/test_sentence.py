"""The sentence: a direction only where the paired interval excludes 0, else inconclusive, and never an equivalence."""

from __future__ import annotations

import re

from synthbench.analysis.pairing import headline
from synthbench.reporting.sentence import sentence
from tests.each import each
from tests.reporting.made import CARD, row

LOW, HIGH, NOISY = [0.10, 0.20, 0.30], [0.31, 0.40, 0.52], [0.05, 0.45, 0.25]


def said(own: list[float], other: list[float], **options: object) -> str:
    readings = {"rule_accuracy@fit": own, "forgetting@fit": [0.5, 0.4, 0.6]}
    rival = {"rule_accuracy@fit": other, "forgetting@fit": [0.4, 0.6, 0.5]}
    return sentence([row("muon", readings=readings), row("adamw", readings=rival, reference=True)], CARD)


def test_a_direction_is_given_where_the_interval_excludes_zero() -> None:
    for text, word, other in ((said(HIGH, LOW), "higher", "lower"), (said(LOW, HIGH), "lower", "higher")):
        assert all(part in text for part in ("Muon", "full", "AdamW", f"rule accuracy {word} by 0.21"))
        assert other not in text


def test_without_a_direction_it_is_inconclusive_with_n_and_the_seeds_for_80_percent_power() -> None:
    text = said(NOISY, LOW)
    assert re.search(
        r"rule accuracy inconclusive \(difference \+0\.05, 95 % interval -\d\.\d\d to \+\d\.\d\d, n = 3; "
        r"about \d+ seeds for 80 % power\)",
        text,
    )
    assert "about 105 seeds" in said(LOW, [0.20, 0.10, 0.30])  # of rows with one mean, that they are equal
    assert not re.search("higher|lower|differently|no difference", text)


def test_a_difference_that_is_surely_small_is_said_to_be() -> None:
    text = said([0.11, 0.195, 0.301], LOW)
    assert all(part in text for part in ("AdamW", "rule accuracy no difference larger than 0.05 (", "+0.00"))
    assert not re.search("higher|lower", text)


@each("seeds", range(3))
def test_two_seeds_are_too_few(seeds: int) -> None:
    text = said(HIGH[:seeds], LOW)
    assert f"{seeds} paired seed" in text
    assert not re.search("higher|lower", text)
    assert seeds == 0 or "3" in text


def test_seeds_are_paired() -> None:
    # Unpaired, a difference of .01 is nothing beside a deviation of .1 between seeds; paired it is certain.
    text = said([0.11, 0.21, 0.3101], LOW)
    assert "rule accuracy higher by 0.01" in text


def test_a_sign_that_changes_with_the_speed_depends_on_it() -> None:
    own = row("muon", readings={"rule_accuracy@fit": HIGH})
    other = row("adamw", readings={"rule_accuracy@fit": LOW})
    first = CARD.reading.target_steps[0]
    reversed_there = {**own.target_steps["rule_accuracy@fit"], first: {0: 0.0, 1: 0.0, 2: 0.0}}
    own = own.model_copy(update={"target_steps": {**own.target_steps, "rule_accuracy@fit": reversed_there}})
    assert "depends on the target step" in sentence([own, other], CARD)


def test_where_all_diverged_nothing_is_said() -> None:
    assert "diverged" in sentence([row("muon", lr=None), row("adamw")], CARD)


def test_alone_an_optimizer_s_updates_are_compared() -> None:
    text = sentence([row("sgd"), row("sgd", "lora-16", {"rule_accuracy@fit": [0.1, 0.11, 0.12]})], CARD)
    assert "SGD (full) against SGD (lora-16)" in text


def test_one_s_own_optimizer_is_compared_with_adamw_under_the_same_update() -> None:
    found = headline(
        [row("muon", "lora-16"), row("sgd", "lora-16", reference=True), row("adamw", "lora-16", reference=True)]
    )
    assert found is not None
    assert (found.row.optimizer, found.other.optimizer, found.other.update) == ("muon", "adamw", "lora-16")


def test_a_single_row_cannot_be_compared() -> None:
    assert headline([row("muon")]) is None
    assert "compared" in sentence([row("muon")], CARD)


def test_of_several_tasks_the_first_is_named_and_an_arm_is_no_optimizer_to_read_it_for() -> None:
    variant = row("adamw-aux-01").model_copy(update={"variant_of": "adamw-split"})
    elsewhere = [row(name).model_copy(update={"task": "wugs"}) for name in ("adamw", "sgd")]
    found = headline([variant, row("adamw"), row("muon"), *elsewhere])
    assert found is not None
    assert [one.optimizer for one in found] == ["muon", "adamw"]
    assert sentence([variant, row("adamw"), row("muon"), *elsewhere], CARD).startswith("On rote-vs-rule")
    assert "rote-vs-rule" not in sentence([row("adamw"), row("muon")], CARD)
