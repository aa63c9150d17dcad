"""Answers to claims in words, on a page, on the terminal and in exit codes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from synthbench.analysis.claims import answers
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.cards.runner import VariantCard
from synthbench.reporting import claim_answers
from tests.analysis.example_rows import NOISE, card_of, card_with_claims, muon_and_adamw, task_row
from tests.analysis.test_claim_kinds import (
    CELLS,
    DECAYS,
    DOMINANCE,
    INVERSION,
    MATRIX,
    SPREAD,
    TREND,
    along,
    matrix_rows,
    two,
    with_readings,
)
from tests.each import each


def test_a_difference_within_the_margin_is_named_as_such() -> None:
    (small,) = answers(card_with_claims({}), muon_and_adamw("wugs", 0.02))
    assert "0.05" in claim_answers.in_words(small)
    (large,) = answers(card_with_claims({}), muon_and_adamw("wugs", 0.2))
    assert claim_answers.in_words(large) == "supported"
    (not_equal,) = answers(card_with_claims({"expected": "equal"}), muon_and_adamw("wugs", 0.2))
    assert claim_answers.in_words(not_equal).startswith("refuted")


def test_a_claim_of_no_less_says_what_it_may_be() -> None:
    def said(difference: float, spread: float = 1.0) -> str:
        rows = muon_and_adamw("wugs", difference, spread)
        return claim_answers.in_words(*answers(card_with_claims({"expected": "no lower"}), rows))

    assert said(0.03) == said(0.0) == "supported"
    assert said(-0.03) == "supported (lower, but by less than 0.05)"
    assert said(-0.2) == "refuted: lower by more than 0.05"
    assert said(0.0, 20.0).startswith("inconclusive (may be lower by more than 0.05, p = .")


def test_an_answer_that_is_inconclusive_after_correction_names_holm() -> None:
    first, *_ = answers(card_with_claims(*[{"primary": True}] * 3), muon_and_adamw("wugs", 0.012))
    assert "Holm" in claim_answers.in_words(first)


def test_an_interval_ends_at_the_greatest_difference_and_the_answer_is_decided_by_the_whole() -> None:
    found = answers(card_with_claims({}), muon_and_adamw("wugs", 0.3, spread=100))
    assert found[0].first.pooled.difference.high > 1
    (line,) = claim_answers.lines(found, None)
    assert re.search(r"\+0\.\d\d \[[-+]\d\.\d\d, \+1\.00\]", line)
    (record,) = claim_answers.records(found)
    assert record["high"] == record["tasks"]["wugs"]["high"] == 1.0


def test_the_seeds_of_each_task_are_named_where_they_differ() -> None:
    score = "rule_accuracy@fit"
    muon, adamw = muon_and_adamw("grokking", 0.2, score=score)
    without_seed_5 = {seed: value for seed, value in muon.values[score].items() if seed != 5}
    muon = muon.model_copy(update={"values": muon.values | {score: without_seed_5}})
    rows = [*muon_and_adamw("wugs", 0.2, score=score), muon, adamw]
    (line,) = claim_answers.lines(answers(card_with_claims({"score": score}), rows), None)
    assert "Seeds: wugs 8, grokking 7." in line
    (line,) = claim_answers.lines(answers(card_with_claims({}), muon_and_adamw("wugs", 0.2)), None)
    assert "Seeds" not in line


def test_a_salted_variant_follows_the_answer_as_its_a_a() -> None:
    card = card_with_claims({}).model_copy(update={"variants": {"adamw-again": VariantCard(of="adamw", salt="again")}})
    rows = [*muon_and_adamw("wugs", 0.2), task_row("adamw-again", "wugs", [0.49 - noise for noise in NOISE])]
    found = answers(card, rows)
    (line,) = claim_answers.lines(found, None)
    assert "p < .001. A/A (adamw again): +0.01 [+0.00, +0.02] (not 0). 1 of 1 tasks" in line.replace("\\", "")
    (record,) = claim_answers.records(found)
    assert record["again"]["adamw"]["difference"] == pytest.approx(0.0119)
    in_table = Console(width=200, record=True, file=io.StringIO())
    in_table.print(claim_answers.as_rich(found))
    assert "A/A (adamw again): +0.01 [+0.00, +0.02]" in in_table.export_text()


def test_an_answer_about_bounds_has_the_median_and_p() -> None:
    steps = "steps_to_rule@t"
    rows = [
        row.model_copy(update={"values": row.values | {steps: {seed: start + seed for seed in range(8)}}})
        for row, start in zip(muon_and_adamw("wugs", 0.0), (10.0, 60.0), strict=True)
    ]
    rows[1] = rows[1].model_copy(update={"censored": {steps: {7: ">"}}})
    card = card_with_claims({"score": steps, "expected": "lower"})
    (line,) = claim_answers.lines(answers(card, rows), None)
    assert "`steps_to_rule@t` of muon full minus adamw full: median -50, p = .008, n = 8." in line
    assert "lower in wugs (median -50, p = .008)" in line


def test_an_adjusted_p_value_is_the_only_one_of_an_answer() -> None:
    """Of signed ranks of eight seeds p is .313 (a sum of 10), after Holm over three claims .938."""
    steps = "steps_to_rule@t"
    first = {0: 10.0, 1: 20.0, 2: 31.0, 3: 42.0, 4: 53.0, 5: 66.0, 6: 77.0, 7: 88.0}
    second = {0: 12.0, 1: 21.0, 2: 28.0, 3: 46.0, 4: 58.0, 5: 72.0, 6: 70.0, 7: 96.0}
    rows = [
        row.model_copy(update={"values": row.values | {steps: values}})
        for row, values in zip(muon_and_adamw("wugs", 0.0), (first, second), strict=True)
    ]
    found = answers(card_with_claims(*[{"score": steps, "expected": "lower", "primary": True}] * 3), rows)
    text = claim_answers.lines(found, None)[0].partition(" of 1 tasks")[0]
    assert found[0].first.p == pytest.approx(3 * found[0].tasks["wugs"].p)
    assert set(re.findall(r"p = (\.\d+)", text)) == {f"{found[0].first.p:.3f}".removeprefix("0")}


def test_a_line_has_the_claim_its_answer_and_the_command_that_repeats_it() -> None:
    (answer,) = answers(card_with_claims({"primary": True, "says": "Muon *learns* more."}), muon_and_adamw("wugs", 0.2))
    (line,) = claim_answers.lines([answer], Path("a folder"))
    assert line.startswith("1. **supported (primary):** Muon \\*learns\\* more. (a paper) `learning`")
    assert all(phrase in line for phrase in ("+0.20", "[+0.19, +0.21]", "n = 8", "p < .001", "1 of 1", "wugs (+0.20)"))
    assert line.endswith("`synthbench compare muon adamw --update full --columns learning --out 'a folder'`")


def test_tasks_are_grouped_by_verdict() -> None:
    differences = {"wugs": 0.2, "grokking": 0.3, "noisy-rule": 0.0}
    rows = [row for task, difference in differences.items() for row in muon_and_adamw(task, difference)]
    (answer,) = answers(card_with_claims({}), rows)
    higher, equal = claim_answers.by_task(answer.first, answer.claim).split("; ")
    assert all(phrase in higher for phrase in ("higher", "wugs (+0.20)", "grokking (+0.30)"))
    assert all(phrase in equal for phrase in ("0.05", "noisy-rule (+0.002)"))


def test_the_summary_counts_answers_by_kind() -> None:
    claims = card_with_claims({}, {"expected": "lower"}, {}, {"rows": {"optimizer": "sgd"}})
    summary = claim_answers.summary(answers(claims, muon_and_adamw("wugs", 0.2)))
    assert re.findall(r"\d+|supported|refuted|not measured", summary) == [
        "4", "2", "supported", "1", "3", "1", "refuted", "2", "1", "not measured", "4"
    ]  # fmt: skip


def line(card: RunnerCard, rows: list[Row]) -> str:
    """The answer to the only claim, without the backslashes of markdown."""
    (text,) = claim_answers.lines(answers(card, rows), None)
    return text.replace("\\", "")


def test_the_answer_of_an_interaction_names_its_optimizers_and_each_two_of_three() -> None:
    of_two = line(card_of(MATRIX), matrix_rows("wugs", CELLS, SPREAD))
    contrasted = "`learning` of full updates by the optimizer that pretrained minus by another (adamw, muon): +0.20"
    assert contrasted in of_two
    assert "No A/A on the card. 1 of 1 tasks: higher in wugs (+0.20)." in of_two
    names = ["adamw", "muon", "sgd"]
    cells = {(base, name): 0.5 + 0.1 * (base == name) for base in names for name in names}
    rows = matrix_rows("wugs", cells, {(name, name): 1.0 for name in names})
    of_three = line(card_of(MATRIX | {"matrix": {"optimizers": names}}), rows)
    assert (
        "By two optimizers: higher in adamw and muon (+0.10), adamw and sgd (+0.10), muon and sgd (+0.10)." in of_three
    )


def test_the_answer_of_a_trend_says_along_what_and_where_it_turns() -> None:
    text = line(card_of(TREND), along("adamw", "wugs", [0.3, 0.6, 0.5]))
    assert "`learning` of adamw full along decay (its logarithm), from its least to its greatest value: +0.20" in text
    assert "Best mean at decay 0.2 (0.2 in 95 % of resamples of the seeds)." in text
    assert "rising in wugs (+0.20)." in text
    assert "an end of the axis" in line(card_of(TREND), along("adamw", "wugs", [0.3, 0.5, 0.6]))


def test_the_answer_of_a_dominance_has_both_scores() -> None:
    text = line(card_of(DOMINANCE), two(0.2, -0.03))
    assert text.startswith("1. **supported:**")
    assert "rule_accuracy: -0.03 [-0.04, -0.02], against a loss of 0.05 p = .001 (one-sided)." in text
    assert text.endswith("`synthbench compare muon adamw --update full --columns learning,rule_accuracy`")
    assert "**refuted: worse in rule_accuracy by more than 0.05:**" in line(card_of(DOMINANCE), two(0.2, -0.2))
    assert "**refuted: worse in learning:**" in line(card_of(DOMINANCE), two(-0.2, 0.2))
    assert "(better, but worse in rule_accuracy, perhaps by more than 0.05" in line(
        card_of(DOMINANCE), two(0.2, -0.045)
    )


def test_a_dominance_names_what_decides_against_it() -> None:
    def said(better: float, other: float, spread: float = 1.0, **changes: object) -> str:
        first, *_ = answers(card_of(*[DOMINANCE | changes] * 3), two(better, other, spread))
        return claim_answers.in_words(first)

    assert said(-0.2, 0.0) == "refuted: worse in learning"
    assert said(0.2, -0.2) == "refuted: worse in rule_accuracy by more than 0.05"
    assert "worse in rule_accuracy, perhaps by more than 0.05" in said(0.2, -0.05)
    assert "may be worse in rule_accuracy by more than 0.05" in said(0.4, -0.04, spread=6.0)
    assert "Holm" in said(0.012, 0.0, primary=True)  # the second score is fine


def test_the_a_a_of_a_dominance_says_of_either_score_where_it_is_not_0() -> None:
    card = card_of(DOMINANCE)
    card = card.model_copy(update={"variants": {"adamw-again": VariantCard(of="adamw", salt="again")}})
    muon, adamw = two(0.2, 0.0)
    values = adamw.values | {"rule_accuracy": {seed: 0.6 + 0.001 * seed for seed in range(8)}}
    again = adamw.model_copy(update={"optimizer": "adamw-again", "values": values})
    (text,) = claim_answers.lines(answers(card, [muon, adamw, again]), None)
    first, second = re.findall(r"again\): ([^;.]+\.[^;]+?)[;.] ", text.replace("\\", ""))
    assert "not 0" not in first
    assert second.endswith("(not 0)")


def test_an_answer_says_under_which_of_its_readings_the_effect_is_small() -> None:
    card = card_with_claims({"score": "rule_accuracy", "readings": ["end", "fit", "steps"]})

    def said(**by_reading: float) -> str:
        return claim_answers.in_words(*answers(card, with_readings(by_reading)))

    assert said(end=0.2, fit=0.03, steps=0.03) == "supported (smaller than 0.05 at fit, steps)"
    assert said(end=0.03, fit=0.03, steps=0.03) == "supported (smaller than 0.05)"
    assert said(end=0.2, fit=0.2, steps=0.2) == "supported"


def test_two_refutations_are_one_answer() -> None:
    found = answers(card_with_claims({"score": "rule_accuracy", "readings": ["fit", "end"], "expected": "higher"}),
                    with_readings({"fit": -0.3, "end": 0.0}))  # fmt: skip
    assert [reading.kind for reading in found[0].readings] == ["opposite", "no difference"]
    assert claim_answers.in_words(*found).startswith("refuted")


def test_tasks_that_are_left_out_are_counted_once() -> None:
    """Two values of the axis lack a reading in one of two tasks."""
    rows = [row for task in ("wugs", "grokking") for row in along("adamw", task, [0.2, 0.3, 0.5])]
    rows[3:5] = [row.model_copy(update={"values": {}}) for row in rows[3:5]]
    (text,) = claim_answers.lines(answers(card_of(TREND), rows), None)
    assert "1 of 2 tasks" in text


def test_the_answer_of_an_inversion_is_a_share_of_pairs() -> None:
    losses = dict(zip(DECAYS, (1.0, 2.0, 3.0), strict=True))
    rows = [
        row.model_copy(update={"start": {"validation_loss": dict.fromkeys(range(8), losses[row.axes["decay"]])}})
        for row in along("adamw", "wugs", [0.3, 0.5, 0.7])
    ]
    text = line(card_of(INVERSION), rows)
    assert "pairs in the order opposite to that of validation_loss before: 100% [100%, 100%], n = 8, p = .008." in text
    assert "mostly inverted in wugs (100%)" in text


def test_every_reading_has_its_answer_in_every_format() -> None:
    claim = {"score": "rule_accuracy", "readings": ["fit", "end", "steps"]}
    found = answers(card_with_claims(claim), with_readings({"fit": 0.2, "end": -0.3}))
    (text,) = claim_answers.lines(found, None)
    assert "**depends on the reading (supported at fit; refuted: opposite at end):**" in text
    phrases = ["`rule_accuracy@fit` of", ", supported: +0.20", "`rule_accuracy` of", ", refuted: opposite: -0.30"]
    assert [text.index(phrase) for phrase in phrases] == sorted(text.index(phrase) for phrase in phrases)
    assert "`rule_accuracy@steps` was not measured. Left out: wugs (not reached)." in text
    assert "1 depends on the reading (1)" in claim_answers.summary(found)
    (record,) = claim_answers.records(found)
    assert (record["answer"], record["difference"]) == ("depends on reading", pytest.approx(0.2019))
    assert [(one["score"], one["answer"]) for one in record["readings"]] == [
        ("rule_accuracy@fit", "supported"), ("rule_accuracy", "opposite"), ("rule_accuracy@steps", "not measured"),
    ]  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(claim_answers.as_rich(found))
    shown = console.export_text()
    assert all(phrase in shown for phrase in ("rule_accuracy@fit ", "refuted: opposite", "not measured"))


@each(
    ("claim", "rows"),
    [
        (MATRIX, lambda: matrix_rows("wugs", CELLS, SPREAD)),
        (TREND, lambda: along("adamw", "wugs", [0.3, 0.6, 0.5])),
        (DOMINANCE, lambda: two(0.2, 0.0)),
        (TREND, list),
    ],
)
def test_every_kind_of_answer_is_an_object_of_json(claim: dict[str, object], rows: Callable[[], list[Row]]) -> None:
    records = claim_answers.records(answers(card_of(claim), rows()))
    assert json.loads(json.dumps(records, allow_nan=False)) == json.loads(json.dumps(records))
