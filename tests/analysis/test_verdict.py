"""Verdicts on differences, paired and not: their kind, the margin, the seeds for 80 % power."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, sqrt

import pytest

from synthbench.analysis.contrast import one_task
from synthbench.analysis.pairing import Pair
from synthbench.analysis.statistics import detectable, seeds_for_equivalence, seeds_needed
from synthbench.analysis.verdict import findings, of, verdict
from synthbench.cards import RunnerCard, parse
from synthbench.common.errors import BadInput
from synthbench.reporting import sentence
from tests.analysis.example_rows import (
    CARD,
    CLEAR_DIFFERENCES,
    NOISY_DIFFERENCES,
    SMALL_DIFFERENCES,
    TARGET_STEP,
    on_device,
    row,
)
from tests.each import each


@each(
    ("paired", "margin", "kind"),
    [
        (CLEAR_DIFFERENCES, 0.05, "higher"),
        (CLEAR_DIFFERENCES[:3], 0.05, "higher"),
        ([-value for value in CLEAR_DIFFERENCES], 0.05, "lower"),
        (NOISY_DIFFERENCES, 0.05, "inconclusive"),
        (SMALL_DIFFERENCES, 0.05, "equal"),
        (SMALL_DIFFERENCES, None, "inconclusive"),
        ([0.0, 0.0, 0.0], None, "identical"),
        (CLEAR_DIFFERENCES[:2], 0.05, "too few seeds"),
        ([], 0.05, "too few seeds"),
        ([0.02, 0.02, 0.02], 0.05, "higher"),
    ],
)
def test_each_kind_of_verdict(paired: list[float], margin: float | None, kind: str) -> None:
    assert verdict(one_task(paired), margin).kind == kind


def test_a_direction_that_changes_with_the_target_step_depends_on_it() -> None:
    assert verdict(one_task(CLEAR_DIFFERENCES), 0.05, {True, False}).kind == "depends on target step"
    assert verdict(one_task(CLEAR_DIFFERENCES), 0.05, {True}).kind == "higher"
    assert verdict(one_task(NOISY_DIFFERENCES), 0.05, {True, False}).kind == "inconclusive"


def test_inconclusive_verdicts_have_the_seeds_for_80_percent_power_and_others_have_none() -> None:
    noisy = verdict(one_task(NOISY_DIFFERENCES), 0.05)
    assert 4 < noisy.seeds <= seeds_needed(one_task(NOISY_DIFFERENCES))
    assert verdict(one_task(NOISY_DIFFERENCES), None).seeds == seeds_needed(one_task(NOISY_DIFFERENCES))
    assert noisy.detectable == pytest.approx(detectable(0.2496 / 2, 3), rel=1e-3)
    assert isnan(verdict(one_task(CLEAR_DIFFERENCES), 0.05).seeds)
    assert verdict(one_task([0.1, -0.1, 0.1, -0.1]), None).seeds == inf
    assert (
        verdict(one_task([0.1, -0.1, 0.1, -0.1]), 0.05).seeds
        == seeds_for_equivalence(one_task([0.1, -0.1, 0.1, -0.1]), 0.05)
        < 100
    )


def test_the_margin_is_that_of_the_score_s_unit() -> None:
    pair = Pair(row("muon"), row("adamw"))
    card = CARD.model_copy(update={"margins": {"share": 0.02}})
    assert of(pair, "learning", card).margin == 0.02
    assert of(pair, "loss_forgetting", card).margin is None


def test_margins_of_a_card_keep_the_defaults_of_other_units_and_the_fingerprint() -> None:
    content = CARD.model_dump(mode="json", by_alias=True) | {"margins": {"share": 0.02}, "rank": "learning"}
    card = parse(RunnerCard, content, "a card")
    assert card.margins == {"share": 0.02, "nats/token": 0.1, "nats/answer": 0.1}
    assert card.fingerprint() == CARD.fingerprint()
    with pytest.raises(BadInput, match=r"margins\.share"):
        parse(RunnerCard, content | {"margins": {"share": 0}}, "a card")


def test_signs_are_compared_at_the_card_s_target_steps() -> None:
    muon = row("muon", readings={"rote_gap@fit": [0.4, 0.5, 0.61]})
    adamw = row("adamw", readings={"rote_gap@fit": [0.2, 0.3, 0.4]})
    assert of(Pair(muon, adamw), "rote_gap@fit", CARD).kind == "higher"
    reversed_steps = {**muon.target_steps["rote_gap@fit"], CARD.reading.target_steps[0]: {0: 0.0, 1: 0.0, 2: 0.0}}
    muon = muon.model_copy(update={"target_steps": {**muon.target_steps, "rote_gap@fit": reversed_steps}})
    assert of(Pair(muon, adamw), "rote_gap@fit", CARD).kind == "depends on target step"


def at_other_steps(score: str, muon: Sequence[Sequence[float]]) -> Pair:
    """Muon is .2 higher than AdamW (95 % interval .17 to .23) at the card's target step; muon: its values at the others."""
    first, second = row("muon", readings={score: [0.3, 0.41, 0.49]}), row("adamw", readings={score: [0.1, 0.2, 0.3]})
    others = [step for step in CARD.reading.target_steps if step != TARGET_STEP]
    changed = {step: dict(enumerate(values)) for step, values in zip(others, muon, strict=True)}
    by_step = {**first.target_steps.get(score, {}), **changed}
    return Pair(first.model_copy(update={"target_steps": {**first.target_steps, score: by_step}}), second)


@each(
    ("muon", "elsewhere"),
    [
        ([[0.3, 0.41, 0.49], [0.31, 0.42, 0.5]], {}),  # the same, and within the interval
        ([[0.31, 0.42, 0.5], [0.4, 0.51, 0.6]], {1: ("higher", 0.30333)}),  # more than at the card's
        ([[0.1, 0.8, 0.3], [0.5, 0.5, 0.5]], {0: ("inconclusive", 0.2), 1: ("higher", 0.3)}),
        ([[0.1, 0.21, 0.31], [0.1, 0.2, 0.3]], {0: ("equal", 0.00667), 1: ("identical", 0.0)}),
        ([[0.9, 0.9], []], {}),  # of too few seeds nothing is said
    ],
)
def test_a_verdict_names_target_steps_at_which_it_is_another_in_kind_or_size(
    muon: list[list[float]], elsewhere: dict[int, tuple[str, float]]
) -> None:
    judged = of(at_other_steps("rote_gap@fit", muon), "rote_gap@fit", CARD)
    others = [step for step in CARD.reading.target_steps if step != TARGET_STEP]
    assert judged.difference.mean == pytest.approx(0.2)
    assert {step: kind for step, (kind, _) in judged.elsewhere.items()} == {
        others[index]: kind for index, (kind, _) in elsewhere.items()
    }
    means = [mean for _, mean in judged.elsewhere.values()]
    assert means == pytest.approx([mean for _, mean in elsewhere.values()], abs=1e-4)
    assert not of(at_other_steps("learning", muon), "learning", CARD).elsewhere  # read at the end


def test_a_verdict_in_words_says_what_it_is_at_other_target_steps() -> None:
    judged = of(at_other_steps("rote_gap@fit", [[0.1, 0.8, 0.3], [0.4, 0.51, 0.6]]), "rote_gap@fit", CARD)
    first, second = (step for step in CARD.reading.target_steps if step != TARGET_STEP)
    clause = f"; +0.20, inconclusive, at step {first}; +0.30 at step {second}"
    assert sentence.elsewhere(judged) == clause
    assert sentence.words(judged, "rote_gap@fit", "muon") == f"muon worse{clause}"


LOW, HIGH, FLAT = [0.1, 0.2, 0.3], [0.61, 0.70, 0.82], [0.5, 0.5, 0.5]


@each(
    ("values", "others", "margin", "kind"),
    [
        (HIGH, LOW, 0.05, "higher"),
        (LOW, HIGH, 0.05, "lower"),
        ([0.11, 0.21, 0.3101], LOW, 0.05, "inconclusive"),  # paired, it is higher by 0.01
        ([0.501, 0.502, 0.5], [0.5, 0.501, 0.499, 0.5], 0.05, "equal"),
        (FLAT, FLAT, 0.05, "identical"),
        (FLAT, [0.6, 0.6, 0.6], 0.05, "lower"),
        (HIGH, LOW[:2], 0.05, "too few seeds"),
        (HIGH, [], 0.05, "too few seeds"),
    ],
)
def test_each_kind_of_verdict_on_two_samples(
    values: list[float], others: list[float], margin: float, kind: str
) -> None:
    judged = verdict(one_task(values, others), margin)
    assert (judged.kind, judged.paired) == (kind, False)


def test_an_inconclusive_verdict_on_two_samples_has_the_seeds_of_each_row() -> None:
    contrast = one_task([0.11, 0.21, 0.3101], LOW)
    judged = verdict(contrast, 0.05)
    assert judged.seeds == min(seeds_needed(contrast), seeds_for_equivalence(contrast, 0.05)) > 50
    assert judged.detectable == pytest.approx(0.1 * sqrt(2 / 3) * 3.7611, rel=0.01)  # 3.0709 deviations (statsmodels)
    assert judged.difference.n == 3


def test_rows_of_two_devices_are_judged_as_two_samples_with_their_own_means() -> None:
    muon = row("muon", readings={"learning": [0.5, 0.6, 0.7, 0.8]}, seeds=4)
    adamw = row("adamw", readings={"learning": [0.4, 0.5, 0.7]})
    for pair, means, paired in (
        (Pair(muon, adamw), (0.6, 1.6 / 3), True),
        (Pair(muon, on_device("another", adamw)), (0.65, 1.6 / 3), False),
    ):
        (finding,) = findings([pair], ["learning"], CARD)
        assert finding.means == pytest.approx(means)
        assert finding.verdict.paired is paired
        assert finding.verdict.difference.mean == pytest.approx(means[0] - means[1])
