"""Claims of a card are answered from differences paired over seeds and averaged over tasks."""

from __future__ import annotations

import pytest
from scipy import stats

from synthbench.analysis.claims import Kind, answers
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard, parse
from synthbench.cards.runner import OverrideCard, VariantCard
from synthbench.common.errors import BadInput
from synthbench.reporting import claim_answers
from tests.analysis.example_rows import (
    CARD,
    CLAIM,
    NOISE,
    TARGET_STEP,
    card_with_claims,
    muon_and_adamw,
    on_device,
    task_row,
)
from tests.each import each


def test_an_answer_is_computed_from_the_mean_over_tasks() -> None:
    rows = [*muon_and_adamw("wugs", 0.2), *muon_and_adamw("grokking", 0.1, spread=-2.0)]
    (answer,) = answers(card_with_claims({}), rows)
    pooled = [(0.2 + noise + 0.1 - 2 * noise) / 2 for noise in NOISE]
    expected = stats.ttest_1samp(pooled, 0)
    low, high = expected.confidence_interval()
    assert answer.kind == "supported"
    assert answer.first.pooled.difference == pytest.approx((0.15 - 0.0009375, low, high, 8), abs=1e-9)
    assert answer.first.p == pytest.approx(expected.pvalue)
    assert {task: verdict.difference.mean for task, verdict in answer.tasks.items()} == pytest.approx(
        {"wugs": 0.2 + 0.001875, "grokking": 0.1 - 0.00375}
    )


@each(
    ("difference", "spread", "expected", "kind"),
    [
        (0.2, 1.0, "higher", "supported"),
        (0.2, 1.0, "lower", "opposite"),
        (-0.2, 1.0, "lower", "supported"),
        (0.0, 1.0, "higher", "no difference"),
        (0.0, 1.0, "equal", "supported"),
        (0.03, 1.0, "equal", "supported"),  # a difference within the margin
        (0.2, 1.0, "equal", "opposite"),
        (0.0, 20.0, "higher", "inconclusive"),
        (0.0, 20.0, "equal", "inconclusive"),
        (0.2, 1.0, "no lower", "supported"),
        (-0.03, 1.0, "no lower", "supported"),  # lower, but not by the margin
        (-0.2, 1.0, "no lower", "opposite"),
        (0.0, 20.0, "no lower", "inconclusive"),
        (-0.2, 1.0, "no higher", "supported"),
        (0.2, 1.0, "no higher", "opposite"),
    ],
)
def test_each_kind_of_answer(difference: float, spread: float, expected: str, kind: Kind) -> None:
    assert answers(card_with_claims({"expected": expected}), muon_and_adamw("wugs", difference, spread))[0].kind == kind


def test_no_lower_is_a_one_sided_test_at_the_margin() -> None:
    (answer,) = answers(card_with_claims({"expected": "no lower"}), muon_and_adamw("wugs", -0.045))
    by_scipy = stats.ttest_1samp([-0.045 + noise for noise in NOISE], -0.05, alternative="greater")
    assert answer.first.p == pytest.approx(by_scipy.pvalue)


def test_primary_claims_share_an_error_rate_and_exploratory_ones_do_not() -> None:
    rows = muon_and_adamw("wugs", 0.012)  # p is about 0.025
    (alone,) = answers(card_with_claims({}), rows)
    (primary,) = answers(card_with_claims({"primary": True}), rows)
    of_three = answers(card_with_claims(*[{"primary": True}] * 3), rows)
    assert 1 / 60 < alone.first.p < 0.05
    assert (alone.kind, primary.kind) == ("supported", "supported")
    assert [answer.kind for answer in of_three] == ["inconclusive"] * 3
    assert of_three[0].first.p == pytest.approx(3 * alone.first.p)
    unmeasured = {"primary": True, "rows": {"optimizer": "sgd"}}
    two_answers = answers(card_with_claims({"primary": True}, unmeasured), rows)
    assert [answer.kind for answer in two_answers] == [
        "supported",
        "not measured",
    ]  # only measured claims are adjusted for


def test_a_sign_that_changes_with_the_target_step_is_the_answer() -> None:
    rows = muon_and_adamw("wugs", 0.2, score="rule_accuracy@fit")
    other_step = next(target_step for target_step in CARD.reading.target_steps if target_step != TARGET_STEP)
    by_step = rows[0].target_steps["rule_accuracy@fit"]
    reversed_steps = {"rule_accuracy@fit": by_step | {other_step: dict.fromkeys(range(8), 0.1)}}
    claim = card_with_claims({"score": "rule_accuracy@fit"})
    assert answers(claim, rows)[0].kind == "supported"
    reversed_rows = [rows[0].model_copy(update={"target_steps": reversed_steps}), rows[1]]
    assert answers(claim, reversed_rows)[0].kind == "depends on target step"
    rows_at_one_step = [row.model_copy(update={"task": "grokking", "target_steps": {}}) for row in rows]
    (answer,) = answers(claim, [*reversed_rows, *rows_at_one_step])  # one task is read at the card's target step only
    assert (len(answer.tasks), answer.kind) == (2, "depends on target step")


def test_an_answer_names_target_steps_at_which_its_size_is_another() -> None:
    """A task without a reading at a target step is left out on both sides there."""
    score, name = "rule_accuracy@fit", card_with_claims({"score": "rule_accuracy@fit"})
    rows, others = muon_and_adamw("wugs", 0.2, score=score), muon_and_adamw("grokking", 0.4, score=score)
    (first, second) = (step for step in CARD.reading.target_steps if step != TARGET_STEP)
    larger = {seed: value + 0.1 for seed, value in rows[0].values[score].items()}
    muon = rows[0].model_copy(update={"target_steps": {score: rows[0].target_steps[score] | {first: larger}}})
    at_two_steps = {score: dict.fromkeys((TARGET_STEP, second), others[0].values[score])}
    (answer,) = answers(name, [muon, rows[1], others[0].model_copy(update={"target_steps": at_two_steps}), others[1]])
    assert answer.kind == "supported"
    assert answer.first.pooled.difference.mean == pytest.approx(0.3, abs=0.01)
    assert {step: kind for step, (kind, _) in answer.first.pooled.elsewhere.items()} == {first: "higher"}
    assert answer.first.pooled.elsewhere[first][1] == pytest.approx(0.3, abs=0.01)  # of wugs alone, where it is 0.2
    (line,) = claim_answers.lines([answer], None)
    assert f"The size depends on the target step: +0.30 at step {first}." in line


def test_tasks_without_an_answer_are_left_out_with_a_reason() -> None:
    without_score = [row.model_copy(update={"values": {}}) for row in muon_and_adamw("tail-facts", 0.0)]
    too_few_seeds = [muon_and_adamw("grokking", 0.2)[0], task_row("adamw", "grokking", [0.5] * 5)]
    at_ceiling = [task_row(name, "noisy-rule", [1.0] * 8) for name in ("muon", "adamw")]
    without_adamw = task_row("muon", "rote-vs-rule", [0.5] * 8)
    rows = [*muon_and_adamw("wugs", 0.2), *without_score, *too_few_seeds, *at_ceiling, without_adamw]
    (answer,) = answers(card_with_claims({}), rows)
    assert list(answer.tasks) == ["wugs"]
    assert answer.first.missing == {
        "tail-facts": "has no such score", "grokking": "5 of 8 seeds", "noisy-rule": "1.00 at every seed of both",
        "rote-vs-rule": "no rows",
    }  # fmt: skip


def test_a_task_in_which_no_seed_reaches_the_level_is_left_out_and_bounds_of_two_kinds_differ() -> None:
    steps, values = "steps_to_rule@t", dict.fromkeys(range(8), 80.0)

    def bounded(optimizer: str, task: str, mark: str, most: float = 80.0) -> Row:
        marks = {"values": {"rule_accuracy": values, steps: dict.fromkeys(values, most)}}
        marks |= {"censored": {steps: dict.fromkeys(values, mark)}}
        return task_row(optimizer, task, [0.5] * 8).model_copy(update=marks)

    never = [bounded("muon", "wugs", ">"), bounded("adamw", "wugs", ">", 90.0)]
    at_once = [bounded(name, "noisy-rule", "<") for name in ("muon", "adamw")]
    apart = [bounded("muon", "grokking", "<"), bounded("adamw", "grokking", ">")]
    card = card_with_claims({"score": steps, "expected": "lower"})
    (answer,) = answers(card, [*never, *at_once, *apart])
    assert answer.first.missing == {
        "wugs": "reached at no seed", "noisy-rule": "reached from the first on at every seed"
    }  # fmt: skip
    assert (list(answer.tasks), answer.kind) == (["grokking"], "supported")


def test_a_seed_that_one_task_lacks_counts_in_the_others() -> None:
    """The estimate is the mean of the tasks' own: 0.2 + mean(NOISE), and 0.1 + the mean of the noise but for seed 5."""
    grokking = muon_and_adamw("grokking", 0.1, score="rule_accuracy@fit")
    without_seed_5 = {
        name: {seed: value for seed, value in values.items() if seed != 5}
        for name, values in grokking[0].values.items()
    }
    rows = [
        *muon_and_adamw("wugs", 0.2, score="rule_accuracy@fit"),
        grokking[0].model_copy(update={"values": without_seed_5}),
        grokking[1],
    ]
    (answer,) = answers(card_with_claims({"score": "rule_accuracy@fit"}), rows)
    assert {task: judged.difference.n for task, judged in answer.tasks.items()} == {"wugs": 8, "grokking": 7}
    means = 0.2 + sum(NOISE) / 8, 0.1 + (sum(NOISE) - NOISE[5]) / 7
    assert (answer.first.pooled.difference.n, answer.first.pooled.difference.mean) == (8, pytest.approx(sum(means) / 2))


def test_a_salted_variant_is_the_a_a_of_what_a_claim_compares() -> None:
    """Over the same tasks AdamW less AdamW again; other variants are no A/A."""
    variants = {
        "adamw-again": VariantCard(of="adamw", salt="again"),
        "adamw-own-base": VariantCard(of="adamw", salt="own", base="adamw-own-base", update=["full"]),
        "adamw-slow": VariantCard(of="adamw", salt="slow", lr=[1e-4]),
        "muon-again": VariantCard(of="muon", salt="again", base="adamw"),
    }
    card = card_with_claims({}).model_copy(update={"variants": variants})
    assert (card.salted("adamw"), card.salted("muon"), card.salted("adamw-again")) == (
        ["adamw-again", "adamw-own-base"], [], ["adamw-own-base"]
    )  # fmt: skip
    longer = card.stages[-1].model_copy(update={"overrides": {"wugs/adamw-again": OverrideCard(steps=9)}})
    trained_longer = card.model_copy(update={"stages": [*card.stages[:-1], longer]})
    assert (trained_longer.salted("adamw"), trained_longer.salted("adamw-again")) == (["adamw-own-base"], [])
    crossed = OverrideCard(optimizer=["adamw", "adamw-again"], update=["full"])
    beside = card.stages[-1].model_copy(update={"overrides": {"adamw-again": crossed}})
    crossed_card = card.model_copy(update={"stages": [*card.stages[:-1], beside]})
    assert crossed_card.salted("adamw") == ["adamw-again", "adamw-own-base"]
    rows = [*muon_and_adamw("wugs", 0.2), *muon_and_adamw("grokking", 0.2)]
    twins = [task_row("adamw-again", task, [0.49 - noise for noise in NOISE]) for task in ("wugs", "grokking")]
    (answer,) = answers(card, [*rows, *twins, task_row("adamw-slow", "wugs", [0.1] * 8)])
    expected = stats.ttest_1samp([0.01 + noise for noise in NOISE], 0)
    low, high = expected.confidence_interval()
    assert list(answer.first.again) == ["adamw"]
    assert answer.first.again["adamw"].difference == pytest.approx((0.01 + sum(NOISE) / 8, low, high, 8), abs=1e-9)
    assert answers(card, rows)[0].first.again == {}


def test_several_rows_with_one_name_are_no_answer() -> None:
    decayed = [row.model_copy(update={"weight_decay": 0.1}) for row in muon_and_adamw("wugs", -0.2)]
    (answer,) = answers(card_with_claims({}), [*muon_and_adamw("wugs", 0.2), *decayed])
    assert answer.first.missing == {"wugs": "several rows of one name: they differ in weight_decay"}


def test_primary_claims_of_no_difference_are_adjusted_too() -> None:
    """The p-value of an equivalence test enters Holm's correction like any other."""
    rows = muon_and_adamw("wugs", 0.003, spread=4.2)  # the 90 % interval is close to the margin
    (alone,) = answers(card_with_claims({"primary": True}), rows)
    of_three = answers(card_with_claims(*[{"primary": True}] * 3), rows)
    assert (alone.kind, of_three[0].kind) == ("no difference", "inconclusive")
    assert of_three[0].first.p == pytest.approx(3 * alone.first.p)


def test_a_claim_selects_rows_by_task_and_size() -> None:
    half_size = [row.model_copy(update={"size": 0.5}) for row in muon_and_adamw("wugs", -0.2)]
    rows = [*muon_and_adamw("wugs", 0.2), *half_size, *muon_and_adamw("grokking", -0.2)]
    small = {"rows": {"optimizer": "muon", "size": 0.5}, "than": {"optimizer": "adamw", "size": 0.5}}
    two_answers = answers(card_with_claims({"tasks": ["wugs"]}, {"tasks": ["wugs"], **small}), rows)
    assert [answer.kind for answer in two_answers] == ["supported", "opposite"]


def test_at_most_three_claims_are_primary_and_claims_are_not_in_the_fingerprint() -> None:
    assert card_with_claims({}).fingerprint() == CARD.model_copy(update={"seeds": 8}).fingerprint()
    content = CARD.model_dump(mode="json", by_alias=True) | {"claims": [CLAIM | {"primary": True}] * 4}
    with pytest.raises(BadInput, match=r"3.*primary|primary.*3"):
        parse(RunnerCard, content, "card.toml")


def test_where_one_task_s_rows_are_of_two_devices_the_mean_over_tasks_is_not_paired() -> None:
    wugs, (muon, adamw) = muon_and_adamw("wugs", 0.2), muon_and_adamw("grokking", 0.1, spread=-2.0)
    adamw = task_row("adamw", "grokking", [0.5 + 3 * noise for noise in NOISE[::-1]])
    (answer,) = answers(card_with_claims({}), [*wugs, muon, on_device("another", adamw)])
    first = [(0.7 + noise + 0.6 - 2 * noise) / 2 for noise in NOISE]
    second = [(0.5 + 0.5 + 3 * noise) / 2 for noise in NOISE[::-1]]
    expected = stats.ttest_ind(first, second, equal_var=False)
    low, high = expected.confidence_interval()
    mean = sum(first) / 8 - sum(second) / 8
    assert answer.first.pooled.difference == pytest.approx((mean, low, high, 8), abs=1e-9)
    assert answer.first.p == pytest.approx(expected.pvalue)
    assert (answer.kind, answer.first.pooled.paired) == ("supported", False)
    assert {task: judged.paired for task, judged in answer.tasks.items()} == {"wugs": True, "grokking": False}


def test_a_claim_of_no_difference_between_two_devices_rests_on_welch_s_equivalence_test() -> None:
    muon, adamw = muon_and_adamw("wugs", 0.01)
    adamw = on_device("another", task_row("adamw", "wugs", [0.5 + noise for noise in NOISE]))
    (answer,) = answers(card_with_claims({"expected": "equal"}), [muon, adamw])
    values = [0.51 + noise for noise in NOISE], [0.5 + noise for noise in NOISE]
    shifted = [value - 0.05 for value in values[0]]
    expected = stats.ttest_ind(shifted, values[1], equal_var=False, alternative="less").pvalue
    assert (answer.kind, answer.first.p) == ("supported", pytest.approx(expected))
