"""Claims beside a pair of rows: interactions, trends, dominance, inversions, pooled differences, several readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from synthbench.analysis.claims import Kind, Reading, answers
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.cards.runner import VariantCard
from tests.analysis.example_rows import NOISE, based, card_of, card_with_claims, muon_and_adamw, task_row
from tests.each import each

MATRIX = {"kind": "interaction", "matrix": {"optimizers": ["adamw", "muon"]}, "expected": "higher"}
TREND = {"kind": "trend", "rows": {"optimizer": "adamw"}, "axis": "decay", "scale": "log", "expected": "higher"}
DOMINANCE = {
    "kind": "dominates",
    "rows": {"optimizer": "muon"},
    "than": {"optimizer": "adamw"},
    "no_worse": "rule_accuracy",
}
INVERSION = {"kind": "inversion", "rows": {"optimizer": "adamw"}, "axis": "decay", "before": "validation_loss"}
DECAYS = (0.1, 0.2, 0.4)


def read(card: RunnerCard, rows: list[Row]) -> Reading:
    """The only reading of the only claim."""
    ((reading,),) = (answer.readings for answer in answers(card, rows))
    return reading


def matrix_rows(
    task: str, cells: dict[tuple[str, str], float], spread: dict[tuple[str, str], float] | None = None
) -> list[Row]:  # fmt: skip
    """Rows around these means by base and optimizer, with noise in proportion to a spread."""
    return [
        based(optimizer, base, task, [mean + (spread or {}).get((base, optimizer), 0.0) * noise for noise in NOISE])
        for (base, optimizer), mean in cells.items()
    ]


CELLS = {("adamw", "adamw"): 0.6, ("adamw", "muon"): 0.5, ("muon", "muon"): 0.9, ("muon", "adamw"): 0.6}
SPREAD = {("adamw", "adamw"): 1.0, ("muon", "muon"): 2.0, ("muon", "adamw"): -1.0}


def test_an_interaction_is_the_mean_over_bases_of_matched_less_mismatched() -> None:
    """(0.6 - 0.5 + 0.9 - 0.6) / 2 = 0.2, whatever a base or an optimizer does to all of its rows."""
    reading = read(card_of(MATRIX), matrix_rows("wugs", CELLS, SPREAD))
    by_seed = [0.2 + (1.0 + 2.0 + 1.0) / 2 * noise for noise in NOISE]
    expected = stats.ttest_1samp(by_seed, 0)
    low, high = expected.confidence_interval()
    assert reading.pooled.difference == pytest.approx((0.2 + 2 * np.mean(NOISE), low, high, 8), abs=1e-9)
    assert (reading.kind, reading.p) == ("supported", pytest.approx(expected.pvalue))
    shifted = {
        (base, name): mean + 0.1 * (base == "muon") - 0.2 * (name == "adamw") for (base, name), mean in CELLS.items()
    }
    again = read(card_of(MATRIX), matrix_rows("wugs", shifted, SPREAD))
    assert again.pooled.difference == pytest.approx(reading.pooled.difference)


def test_an_interaction_over_tasks_is_the_mean_of_theirs() -> None:
    rows = matrix_rows("wugs", CELLS, SPREAD) + matrix_rows("grokking", CELLS | {("muon", "muon"): 0.7}, SPREAD)
    reading = read(card_of(MATRIX), rows)
    assert reading.pooled.difference.mean == pytest.approx((0.2 + 0.1) / 2 + 2 * np.mean(NOISE))
    assert {task: judged.difference.mean for task, judged in reading.tasks.items()} == pytest.approx(
        {"wugs": 0.2 + 2 * np.mean(NOISE), "grokking": 0.1 + 2 * np.mean(NOISE)}
    )


def test_a_missing_reading_costs_an_interaction_one_difference_and_not_the_seed() -> None:
    """Without seed 0 of Muon on its own base, the mean there is that of the other seven."""
    score = "rule_accuracy@fit"
    rows = matrix_rows("wugs", CELLS, SPREAD)
    rows = [row.model_copy(update={"values": row.values | {score: row.values["learning"]}}) for row in rows]
    (index,) = (index for index, row in enumerate(rows) if (*row.base, row.optimizer) == ("muon", "muon"))
    values = {seed: value for seed, value in rows[index].values[score].items() if seed}
    rows[index] = rows[index].model_copy(update={"values": rows[index].values | {score: values}})
    reading = read(card_of(MATRIX | {"score": score}), rows)
    assert reading.pooled.difference.n == 8
    expected = (0.1 + np.mean(NOISE) + 0.3 + 3 * np.mean(NOISE[1:])) / 2
    assert reading.pooled.difference.mean == pytest.approx(expected)


def test_a_matrix_of_three_is_answered_pair_by_pair_and_together() -> None:
    names = ("adamw", "muon", "sgd")
    effects = {"adamw muon": 0.2, "adamw sgd": 0.1, "muon sgd": 0.0}
    cells = {}
    for base in names:
        for name in names:
            effect = effects.get(" ".join(sorted((base, name))), 0.0)
            cells[base, name] = 0.5 - effect * (base != name)
    spread = {(base, base): 1.0 for base in names}
    reading = read(card_of(MATRIX | {"matrix": {"optimizers": list(names)}}), matrix_rows("wugs", cells, spread))
    assert {name: round(judged.difference.mean - float(np.mean(NOISE)), 6) for name, judged in reading.matrix.items()} == {
        "adamw and muon": 0.2, "adamw and sgd": 0.1, "muon and sgd": 0.0,
    }  # fmt: skip
    assert reading.pooled.difference.mean == pytest.approx(0.1 + np.mean(NOISE))
    assert reading.pooled.difference.n == 8


def test_an_interaction_needs_all_four_rows_and_none_of_its_bases_at_a_bound() -> None:
    at_bound = matrix_rows("wugs", CELLS | {("muon", "muon"): 1.0, ("muon", "adamw"): 1.0}, {("adamw", "adamw"): 1.0})
    reading = read(card_of(MATRIX), [*at_bound, *matrix_rows("grokking", CELLS, SPREAD)[:3]])
    assert reading.kind == "not measured"
    assert reading.missing == {
        "wugs, adamw and muon": "1.00 at every seed of both on muon", "grokking, adamw and muon": "no rows",
    }  # fmt: skip


def test_the_a_a_of_an_interaction_is_that_with_a_salted_twin() -> None:
    card = card_of(MATRIX).model_copy(
        update={"variants": {"adamw-b": VariantCard(of="adamw", base="adamw-b", salt="b")}}
    )
    twin = {("adamw", "adamw-b"): 0.57, ("adamw-b", "adamw-b"): 0.6, ("adamw-b", "adamw"): 0.6}
    rows = matrix_rows("wugs", CELLS | twin, SPREAD | {("adamw-b", "adamw-b"): 1.0})
    assert read(card, rows).again["adamw"].difference.mean == pytest.approx(0.03 / 2 + np.mean(NOISE))
    assert read(card, rows[:4]).again == {}


def along(optimizer: str, task: str, means: list[float], spread: float = 1.0, **changes: Any) -> list[Row]:
    """Rows of one optimizer at DECAYS, the noise of each in another order."""
    orders = (NOISE, NOISE[::-1], NOISE[4:] + NOISE[:4])
    return [
        based(optimizer, optimizer, task, [mean + spread * noise for noise in order], axes={"decay": decay}, **changes)
        for decay, mean, order in zip(DECAYS, means, orders, strict=True)
    ]


def test_a_trend_is_the_mean_slope_over_the_span_of_the_axis() -> None:
    """Over two doublings a slope is half of the last value less the first, so that the change is their difference."""
    reading = read(
        card_of(TREND), along("adamw", "wugs", [0.3, 0.5, 0.5]) + along("adamw", "grokking", [0.3, 0.2, 0.4])
    )
    by_seed = [(0.2 + 0.1) / 2 + last - first for last, first in zip(NOISE[4:] + NOISE[:4], NOISE, strict=True)]
    expected = stats.ttest_1samp(by_seed, 0)
    low, high = expected.confidence_interval()
    assert reading.pooled.difference == pytest.approx((np.mean(by_seed), low, high, 8))
    assert (reading.kind, reading.p) == ("supported", pytest.approx(expected.pvalue))
    assert {task: judged.kind for task, judged in reading.tasks.items()} == {"wugs": "higher", "grokking": "higher"}
    assert reading.turn is not None
    assert (reading.turn.best, reading.turn.is_inside) == (0.4, False)


@each(
    ("expected", "means", "kind"),
    [
        ("higher", [0.3, 0.5, 0.6], "supported"),
        ("lower", [0.3, 0.5, 0.6], "opposite"),
        ("higher", [0.5, 0.6, 0.5], "no difference"),  # a hump has no slope
        ("equal", [0.5, 0.6, 0.5], "supported"),
    ],
)
def test_each_answer_of_a_trend(expected: str, means: list[float], kind: Kind) -> None:
    rows = along("adamw", "wugs", means, spread=0.5)
    assert read(card_of(TREND | {"expected": expected}), rows).kind == kind


def test_a_task_without_all_values_of_the_axis_has_no_trend() -> None:
    wugs = along("adamw", "wugs", [0.3, 0.5, 0.5])
    diverged = wugs[2].model_copy(update={"lr": None, "values": {}})
    reading = read(card_of(TREND), [*wugs[:2], diverged, *along("adamw", "grokking", [0.3, 0.2, 0.4])])
    assert list(reading.tasks) == ["grokking"]
    assert reading.missing == {"wugs, decay 0.4": "diverged", "wugs": "measured at 2 of 3 values of decay"}
    of_two = TREND | {"rows": {"optimizer": "adamw", "axes": {"decay": [0.1, 0.2]}}}
    assert [*read(card_of(of_two), [*wugs[:2], diverged]).tasks] == ["wugs"]


@each(
    ("changes", "why"),
    [
        ({"axis": "depth"}, "its rows have no axis depth"),
        ({"axis": "weight_decay"}, "weight_decay has the value 0, which has no logarithm"),
        ({"rows": {"optimizer": "muon"}}, "no rows"),
        ({"score": "skill_forgetting"}, "has no such score"),
    ],
)
def test_why_there_is_no_trend(changes: dict[str, object], why: str) -> None:
    assert read(card_of(TREND | changes), along("adamw", "wugs", [0.3, 0.5, 0.5])).missing == {"wugs": why}


def test_the_a_a_of_a_trend_is_that_of_the_twin() -> None:
    card = card_of(TREND).model_copy(
        update={"variants": {"adamw-b": VariantCard(of="adamw", base="adamw-b", salt="b")}}
    )
    rows = along("adamw", "wugs", [0.3, 0.5, 0.5]) + along("adamw-b", "wugs", [0.4, 0.5, 0.5], variant_of="adamw")
    again = read(card, rows).again
    assert again["adamw"].difference.mean == pytest.approx(0.1)


def two(better: float, other: float, spread: float = 1.0) -> list[Row]:
    """Muon and AdamW, with differences of these means in learning and in rule accuracy."""
    rows = muon_and_adamw("wugs", better, spread)
    rule = {"muon": [0.5 + other + spread * noise for noise in NOISE[::-1]], "adamw": [0.5] * 8}
    return [
        row.model_copy(update={"values": row.values | {"rule_accuracy": dict(enumerate(rule[row.optimizer]))}})
        for row in rows
    ]


@each(
    ("better", "other", "kind"),
    [
        (0.2, 0.0, "supported"),
        (0.2, -0.03, "supported"),  # worse, but by less than the margin
        (0.2, -0.045, "inconclusive"),
        (0.2, -0.2, "opposite"),
        (-0.2, 0.0, "opposite"),
        (0.0, 0.0, "no difference"),
        (0.0, -0.2, "no difference"),
    ],
)
def test_rows_dominate_that_are_better_in_one_score_and_not_worse_in_another(
    better: float, other: float, kind: Kind
) -> None:
    assert read(card_of(DOMINANCE), two(better, other)).kind == kind


def test_the_p_value_of_dominance_is_the_greater_one() -> None:
    reading = read(card_of(DOMINANCE), two(0.2, -0.02))
    lost = [-0.02 + noise for noise in NOISE]
    expected = stats.ttest_1samp(lost, -0.05, alternative="greater").pvalue
    assert reading.beside is not None
    assert (reading.beside.p, reading.p) == (pytest.approx(expected), pytest.approx(expected))
    down = DOMINANCE | {"score": "learning", "no_worse": "forgetting"}
    rows = [row.model_copy(update={"values": row.values | {"forgetting": row.values["rule_accuracy"]}})
            for row in two(0.2, 0.02)]  # fmt: skip
    more_forgotten = read(card_of(down), rows).beside
    assert more_forgotten is not None
    assert more_forgotten.p == pytest.approx(
        stats.ttest_1samp([0.02 + n for n in NOISE], 0.05, alternative="less").pvalue
    )


def test_bases_that_are_worse_before_and_better_after_are_inversions() -> None:
    """Of each seed all three pairs are inverted: 2 of 256 combinations of signs are as far from chance."""
    rows = [
        row.model_copy(update={"start": {"validation_loss": dict.fromkeys(range(8), loss)}})
        for row, loss in zip(along("adamw", "wugs", [0.3, 0.5, 0.7]), (1.0, 2.0, 3.0), strict=True)
    ]
    reading = read(card_of(INVERSION), rows)
    assert (reading.kind, reading.p, reading.pooled.difference.mean) == ("supported", 2 / 256, 0.5)
    upside_down = [row.model_copy(update={"start": {"validation_loss": dict.fromkeys(range(8), 1 / loss)}})
                   for row, loss in zip(rows, (1.0, 2.0, 3.0), strict=True)]  # fmt: skip
    assert read(card_of(INVERSION), upside_down).kind == "opposite"
    one_base = [row.model_copy(update={"start": rows[0].start}) for row in rows]
    assert read(card_of(INVERSION), one_base).missing == {
        "wugs": "bases differ in validation_loss and after at 0 seeds"
    }


def test_a_difference_is_pooled_over_values_of_an_axis() -> None:
    """Muon less AdamW at each decay and task: four strata, of which each counts once."""
    both: list[dict[str, object]] = [{"optimizer": name, "axes": {"decay": [0.1, 0.2]}} for name in ("muon", "adamw")]
    rows = [
        row.model_copy(update={"axes": {"decay": decay}})
        for task, decay, difference in (
            ("wugs", 0.1, 0.1),
            ("wugs", 0.2, 0.2),
            ("grokking", 0.1, 0.3),
            ("wugs", 0.4, 0.9),
        )
        for row in muon_and_adamw(task, difference)
    ]
    reading = read(card_with_claims({"rows": both[0], "than": both[1]}), rows)
    assert reading.pooled.difference.mean == pytest.approx((0.1 + 0.2 + 0.3) / 3 + np.mean(NOISE))
    assert list(reading.tasks) == ["wugs, decay 0.1", "wugs, decay 0.2", "grokking, decay 0.1"]
    assert reading.missing == {"grokking, decay 0.2": "no rows"}
    unnamed = read(card_with_claims({}), rows)
    assert unnamed.missing["wugs"] == "several rows of one name: they differ in decay"


def test_a_claim_names_a_base_and_else_means_the_own_one() -> None:
    rows = matrix_rows("wugs", CELLS, SPREAD)
    on_adamw = {"rows": {"optimizer": "adamw", "base": "adamw"}, "than": {"optimizer": "muon", "base": "adamw"}}
    assert read(card_with_claims(on_adamw), rows).pooled.difference.mean == pytest.approx(0.1 + np.mean(NOISE))
    own = read(card_with_claims({}), rows)
    assert own.pooled.difference.mean == pytest.approx(0.3 + np.mean(NOISE))


def with_readings(by_reading: dict[str, float]) -> list[Row]:
    """Rows of Muon and AdamW with this difference in rule accuracy under each reading."""
    sides = [task_row(name, "wugs", [0.5] * 8) for name in ("muon", "adamw")]
    for reading, difference in by_reading.items():
        name = "rule_accuracy" if reading == "end" else f"rule_accuracy@{reading}"
        for index, row in enumerate(sides):
            values = {seed: 0.5 + (difference + noise) * (index == 0) for seed, noise in enumerate(NOISE)}
            sides[index] = row.model_copy(update={"values": row.values | {name: values}})
    return sides


@each(
    ("by_reading", "kind"),
    [
        ({"fit": 0.2, "fits": 0.1, "end": 0.3, "steps": 0.2}, "supported"),
        ({"fit": 0.2, "fits": 0.1, "end": -0.3, "steps": 0.2}, "depends on reading"),
        ({"fit": -0.2, "fits": -0.1, "end": -0.3, "steps": -0.2}, "opposite"),
        ({"fit": 0.2, "end": 0.3}, "supported"),  # under the other two it was not measured
    ],
)
def test_a_claim_is_answered_under_each_reading_and_says_where_they_differ(
    by_reading: dict[str, float], kind: Kind
) -> None:
    claim = {"score": "rule_accuracy", "readings": ["fit", "fits", "end", "steps"]}
    (answer,) = answers(card_with_claims(claim), with_readings(by_reading))
    assert answer.kind == kind
    assert [reading.score.removeprefix("rule_accuracy") for reading in answer.readings] == [
        "@fit",
        "@fits",
        "",
        "@steps",
    ]


def test_the_first_reading_of_a_primary_claim_is_corrected() -> None:
    claim = {"score": "rule_accuracy", "readings": ["end", "fit"], "primary": True}
    rows = with_readings({"end": 0.012, "fit": 0.012})
    of_three = answers(card_with_claims(*[claim] * 3), rows)
    first, second = of_three[0].readings
    assert (first.p, first.kind, second.kind) == (pytest.approx(3 * second.p), "inconclusive", "supported")
    assert of_three[0].kind == "depends on reading"


def test_the_a_a_of_a_difference_has_a_base_in_common_where_the_compared_rows_have_one() -> None:
    """The twin of AdamW on AdamW's own base (0.01 less), and on one of its own (0.02 less)."""
    card = card_with_claims({"rows": {"optimizer": "muon", "base": "adamw"}, "than": {"optimizer": "adamw"}}, {})
    card = card.model_copy(update={"variants": {"adamw-b": VariantCard(of="adamw", base="adamw-b", salt="b")}})
    cells = CELLS | {("adamw", "adamw-b"): 0.59, ("adamw-b", "adamw-b"): 0.58}
    on_one_base, on_own_bases = (
        answer.first.again["adamw"].difference.mean for answer in answers(card, matrix_rows("wugs", cells))
    )
    assert (on_one_base, on_own_bases) == (pytest.approx(0.01), pytest.approx(0.02))


@each("bound", [0.0, 1.0])
def test_rows_at_one_bound_answer_no_claim_of_a_difference_but_one_of_none(bound: float) -> None:
    """Both find nearly all, or nearly nothing: what is left of a difference says nothing."""

    def rows(distance: float) -> list[Row]:
        near = [abs(bound - distance - 0.1 * abs(noise)) for noise in NOISE]
        return [task_row("muon", "wugs", near), task_row("adamw", "wugs", [abs(bound - 0.01)] * 8)]

    crowded, off = rows(0.04), rows(0.06)
    differs, equals = card_with_claims({}), card_with_claims({"expected": "equal"})
    reading = read(differs, crowded)
    assert (reading.kind, reading.missing) == (
        "not measured", {"wugs": f"every mean within 0.05 of the bound {bound:g}"}
    )  # fmt: skip
    assert read(differs, off).kind in ("supported", "opposite")
    assert read(equals, crowded).kind == "supported"
    assert read(card_with_claims({"expected": "no lower"}), crowded).kind == "supported"


@each("expected", ["equal", "no lower", "higher"])
def test_rows_that_are_one_value_at_every_seed_answer_a_claim_of_no_difference(expected: str) -> None:
    rows = [task_row(name, "wugs", [1.0] * 8) for name in ("muon", "adamw")]
    reading = read(card_with_claims({"expected": expected}), rows)
    assert reading.kind == ("not measured" if expected == "higher" else "supported")
