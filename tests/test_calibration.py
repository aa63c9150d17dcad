"""The tables of tasks/README.md, on example rows."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from docs import calibration, discrimination
from synthbench.analysis import reference
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import detectable
from synthbench.cards import RunnerCard, load
from tests.analysis import example_rows
from tests.each import each

SCORES_IN_REGIME = {
    "retention@fit": [0.5, 0.6, 0.4], "rule_accuracy@fit": [0.2, 0.3, 0.4], "overwritten@fit": [0.0, 0.01, 0.02],
}  # fmt: skip


def row(optimizer: str = "adamw", pretrain_score: float = 0.99, **readings: list[float]) -> Row:
    base = example_rows.row(optimizer)
    values = SCORES_IN_REGIME | {name.replace("_at_fit", "@fit"): values for name, values in readings.items()}
    start = {name: dict.fromkeys(range(3), pretrain_score) for name in ("fact_recall", "rule_accuracy")}
    return base.model_copy(
        update={
            "values": {name: dict(enumerate(by_seed)) for name, by_seed in values.items() if by_seed},
            "start": start,
        }
    )


@each(
    ("row_of_task", "reason"),
    [
        (row(), None),
        (row(pretrain_score=0.94), "no: pretraining not learned"),
        (row(retention_at_fit=[0.1, 0.2, 0.1]), "no: retention too low"),
        (row(retention_at_fit=[0.9, 0.95, 0.99]), "no: retention too high"),
        (row(rule_accuracy_at_fit=[0.0, 0.1, 0.0]), "no: rule_accuracy too low"),
        (row(rule_accuracy_at_fit=[]), "no: rule_accuracy@fit not reached"),
        (row(overwritten_at_fit=[0.02, 0.03, 0.04]), "no: overwritten too high"),
        (row(pretrain_score=0.5, retention_at_fit=[]), "no: pretraining not learned, retention@fit not reached"),
    ],
)
def test_a_row_is_in_the_regime_or_the_reason_is_given(row_of_task: Row, reason: str | None) -> None:
    assert calibration.why_not(row_of_task) == reason


def test_correlations_are_those_of_numpy_over_rows_and_within_them() -> None:
    first, second = [[0.1, 0.2, 0.4], [0.5, 0.9, 0.6]], [[0.3, 0.2, 0.1], [0.8, 0.7, 0.9]]
    rows = [row(x=x, y=y) for x, y in zip(first, second, strict=True)]
    count, across, within = calibration.correlations(rows, "x", "y")
    assert count == 6
    assert across == pytest.approx(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])
    centred = [np.ravel([np.array(of_row) - np.mean(of_row) for of_row in side]) for side in (first, second)]
    assert within == pytest.approx(np.corrcoef(*centred)[0, 1])
    assert calibration.correlations([row(x=[1.0], y=[2.0])], "x", "y") == (1, None, None)


def test_deviations_are_pooled_over_rows_and_over_pairs_of_optimizers() -> None:
    adamw, muon = row("adamw", x=[1.0, 2.0, 3.0]), row("muon", x=[3.0, 3.0, 6.0])
    # the variances are 1 and 3, the differences 2, 1 and 3
    deviation, paired_deviation = calibration.pooled([adamw, muon], "x")
    assert deviation == pytest.approx(sqrt((1 + 3) / 2))
    assert paired_deviation == pytest.approx(1.0)
    other_update = muon.model_copy(update={"update": "lora-4"})
    assert calibration.pooled([adamw, other_update], "x")[1] == 0.0  # pairs have the same update


def test_each_measured_score_has_a_detectable_difference() -> None:
    rows = [row("adamw", forgetting=[0.1, 0.2, 0.3]), row("muon", forgetting=[0.3, 0.3, 0.6])]
    text = "\n".join(calibration._deviations(rows))
    (line,) = [line for line in text.splitlines() if line.startswith("| forgetting ")]
    assert f"{detectable(0.1 / sqrt(5), 4):.2g}" in line
    assert "| kl_new " not in text


def use_reference_rows(monkeypatch: pytest.MonkeyPatch, runner: str, rows: list[Row]) -> dict[str, str]:
    """Replaces the shipped rows of a runner; returns the fingerprints of its tasks by name."""
    card = load(RunnerCard, runner)
    tasks = {name: f"print of {name}" for name in card.tasks}
    reference_rows = reference.make(card, tasks, rows, "", [])
    monkeypatch.setattr(reference, "shipped", lambda card_of_runner: reference_rows)
    return tasks


def test_planted_optimizers_have_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(8)
    means = {"adamw": 0.8, "adamw-twin": 0.8, "adamw-quarter": 0.3, "adamw-frozen": 0.5}
    rows = [
        example_rows.row(name, seeds=8).model_copy(
            update={"values": {"learning": {seed: mean + 0.001 * ((seed * (7 + index)) % 5) for seed in seeds}}}
        )
        for index, (name, mean) in enumerate(means.items())
    ]
    lines = discrimination.planted(use_reference_rows(monkeypatch, "planted", rows))
    _, text, *by_forgetting = "\n".join(lines).split("| rank by ")
    assert [table.split()[0] for table in by_forgetting] == ["fact_forgetting@fit", "skill_forgetting@fit"]
    assert all("adamw-quarter" in table for table in by_forgetting)
    cells = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line[:3] == "| a"]
    expected = {
        "adamw": "1-2 (0.80)",
        "adamw-twin": "1-2 (0.80)",
        "adamw-quarter": "4 (0.30)",
        "adamw-frozen": "3 (0.50)",
    }
    assert dict(cells) == expected | {"adamw-frozen-late": "-"}


def test_sizes_are_in_order_with_the_number_of_examples_to_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def sized(size: float, accuracy: float) -> Row:
        means = {"rule_accuracy": accuracy, "examples_to_rule@t": 100.0}
        values = {name: dict.fromkeys(range(3), mean) for name, mean in means.items()}
        return example_rows.row("adamw").model_copy(
            update={"size": size, "items": {"rule": int(100 * size)}, "values": values}
        )

    tasks = use_reference_rows(monkeypatch, "sizes", [sized(2, 0.9), sized(0.5, 0.1), sized(1, 0.5)])
    text = "\n".join(discrimination.sizes(tasks))
    (line,) = [line for line in text.splitlines() if line.startswith("| rote-vs-rule")]
    assert [cell.strip() for cell in line.split("|")[3:-1]] == ["50: 0.10", "100: 0.50", "200: 0.90", "100 (3/3)"]


def test_rows_of_other_tasks_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = use_reference_rows(monkeypatch, "planted", [])
    assert discrimination.planted(tasks | {"wugs": "another print"}) == []
