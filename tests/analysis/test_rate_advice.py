"""Advice on the learning rates to add to a row that has no @fit value."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.analysis import rate_advice
from synthbench.experiment.runs import Cell, Run
from synthbench.reporting import notes
from tests.analysis import example_rows
from tests.each import each
from tests.reporting import synthetic_results
from tests.reporting.synthetic_results import FULL_UPDATE, equal_scores


@each(
    ("target_step", "expected"),
    [
        (5, []),
        (9, ["before", "9", "0.9", "slowest", "0.001", "6", "smaller", "--lr"]),
        (2, ["after", "2", "0.9", "fastest", "0.002", "4", "larger", "--lr"]),
    ],
)
def test_a_row_without_a_fit_value_has_advice_on_learning_rates(
    tmp_path: Path, target_step: int, expected: list[str]
) -> None:
    reading = f"reading.target_steps=[{target_step}]", f"reading.target_step={target_step}"
    out = synthetic_results.write(
        tmp_path / str(target_step),
        equal_scores,
        FULL_UPDATE,
        synthetic_results.TWO_RATES,
        *reading,
        optimizers=["adamw"],
    )
    advice = synthetic_results.latest_report(out).advice
    assert len(advice) == (1 if expected else 0)
    for line in advice:
        assert all(phrase in line for phrase in ["adamw (full) on tiny-task", *expected])


@each(
    ("fit_of", "expected"),
    [
        ("fit", None),  # reached at steps 4 and 6
        ("rule_fit", ["before the target step 5", "reaches rule_fit 0.9", "step 3"]),
        ("rote_gap", ["no learning rate reaches rote_gap 0.9"]),
        ("noise_recall", None),  # not measured: no rate would help
    ],
)
def test_advice_and_readings_are_of_the_score_that_is_meant_by_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit_of: str, expected: list[str] | None
) -> None:
    def path(run: Run, scores: dict[str, float]) -> dict[int, dict[str, float]]:
        """Fit is 0.9 at step 4 or 6, fit of the rule at step 2 or 3; the gap stays at 0."""
        middle, last = (2, 4) if run.lr > 1e-3 else (3, 6)
        return {
            step: scores | {"fit": fit, "rule_fit": rule_fit, "rote_gap": 0.0}
            for step, fit, rule_fit in ((0, 0.0, 0.0), (middle, 0.1, 0.9), (last, 0.9, 1.0))
        }

    monkeypatch.setattr(synthetic_results, "path_of", path)
    settings = FULL_UPDATE, synthetic_results.TWO_RATES, f"reading.fit_of='{fit_of}'"
    out = synthetic_results.write(tmp_path / fit_of, equal_scores, *settings, optimizers=["adamw"])
    report = synthetic_results.latest_report(out)
    assert bool(report.rows[0].values["learning@fit"]) == (fit_of == "fit")
    assert len(report.advice) == (expected is not None)
    assert all(phrase in line for line in report.advice for phrase in expected or [])


@each(
    ("seeds", "size", "expected"),
    [
        ([{1e-3: 120, 3e-3: 80}] * 8 + [{1e-3: 99, 3e-3: 80}], 1.0, None),
        ([{1e-3: None, 3e-3: None}], 1.0, ["wugs", "0.9"]),
        ([{1e-3: None, 3e-3: 80}], 1.0, ["slowest", "0.003", "80", "between 0.001"]),
        ([{1e-3: 130, 3e-3: 120, 9e-3: 125}], 1.0, ["fastest", "0.003", "120", "sooner"]),
        ([{1e-3: 80, 3e-3: 60}] * 2 + [{1e-3: 140, 3e-3: 70}] * 3, 1.0,
         ["100", "0.9", "3 of 5 seeds", "140 at 0.001", "70 at 0.003"]),
        ([{1e-3: 140, 3e-3: 90}], 2.0, ["wugs", "2x", "before", "200"]),
    ],
)  # fmt: skip
def test_advice_by_hand(seeds: list[rate_advice.Steps], size: float, expected: list[str] | None) -> None:
    cell = Cell("wugs", "finetune", ("adamw",), "adamw", "full", 0.0, size)
    advice = rate_advice.of_cell(cell, seeds, example_rows.CARD)
    sentence = notes.rates_to_add(advice, example_rows.CARD) if advice else ""
    assert (advice is None) == (expected is None)
    assert all(phrase in sentence for phrase in expected or [])
