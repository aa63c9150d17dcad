"""The tables of tasks/README.md, on rows made by hand."""

from __future__ import annotations

from math import sqrt

import pytest

from docs import calibration, discrimination
from synthbench.analysis import reference
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import detectable
from synthbench.cards import RunnerCard, load
from tests.each import each
from tests.reporting import made

GOOD = {"retention@fit": [0.5, 0.6, 0.4], "rule_accuracy@fit": [0.2, 0.3, 0.4]}


def row(optimizer: str = "adamw", learned: float = 0.99, **readings: list[float]) -> Row:
    base = made.row(optimizer)
    values = GOOD | {name.replace("_at_fit", "@fit"): values for name, values in readings.items()}
    start = {name: dict.fromkeys(range(3), learned) for name in ("fact_recall", "rule_accuracy")}
    return base.model_copy(
        update={"values": {name: dict(enumerate(found)) for name, found in values.items() if found}, "start": start}
    )


@each(
    ("found", "reason"),
    [
        (row(), None),
        (row(learned=0.94), "no: pretraining not learned"),
        (row(retention_at_fit=[0.1, 0.2, 0.1]), "no: retention too low"),
        (row(retention_at_fit=[0.9, 0.95, 0.99]), "no: retention too high"),
        (row(rule_accuracy_at_fit=[0.0, 0.1, 0.0]), "no: rule_accuracy too low"),
        (row(rule_accuracy_at_fit=[]), "no: rule_accuracy@fit not reached"),
        (row(learned=0.5, retention_at_fit=[]), "no: pretraining not learned, retention@fit not reached"),
    ],
)
def test_a_row_is_in_the_regime_or_the_reason_is_given(found: Row, reason: str | None) -> None:
    assert calibration.why_not(found) == reason
    assert calibration.why_not(row(rule_accuracy_at_fit=[]), has_rule=False) is None


def test_deviations_are_pooled_over_rows_and_over_pairs_of_optimizers() -> None:
    a, b = row("adamw", x=[1.0, 2.0, 3.0]), row("muon", x=[3.0, 3.0, 6.0])  # variances 1 and 3; differences 2, 1, 3
    alone, paired = calibration.pooled([a, b], "x")
    assert alone == pytest.approx(sqrt((1 + 3) / 2))
    assert paired == pytest.approx(1.0)
    other = b.model_copy(update={"update": "lora-4"})
    assert calibration.pooled([a, other], "x")[1] == 0.0  # another update is no pair


def test_what_seeds_detect_is_said_of_every_score_that_was_measured() -> None:
    rows = [row("adamw", forgetting=[0.1, 0.2, 0.3]), row("muon", forgetting=[0.3, 0.3, 0.6])]
    text = "\n".join(calibration._deviations(rows))
    (line,) = [line for line in text.splitlines() if line.startswith("| forgetting ")]
    assert f"{detectable(0.1, 5):.2g}" in line
    assert "| kl_new " not in text


def shipping(monkeypatch: pytest.MonkeyPatch, runner: str, rows: list[Row]) -> dict[str, str]:
    """Makes rows stand as a runner's shipped ones; the tasks' fingerprints by name."""
    card = load(RunnerCard, runner)
    tasks = {name: f"print of {name}" for name in card.tasks}
    found = reference.make(card, tasks, rows, "", [])
    monkeypatch.setattr(reference, "shipped", lambda asked: found)
    return tasks


def test_planted_optimizers_stand_in_their_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(8)
    of = {"adamw": 0.8, "adamw-twin": 0.8, "adamw-quarter": 0.3, "adamw-frozen": 0.5}
    rows = [
        made.row(name, seeds=8).model_copy(
            update={"values": {"learning": {seed: mean + 0.001 * ((seed * (7 + place)) % 5) for seed in seeds}}}
        )
        for place, (name, mean) in enumerate(of.items())
    ]
    lines = discrimination.planted(shipping(monkeypatch, "planted", rows))
    text, by_forgetting = "\n".join(lines).split("| tier by forg")
    assert "adamw-quarter" in by_forgetting
    first = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line[:3] == "| a"]
    wanted = {"adamw": "1 (0.80)", "adamw-twin": "1 (0.80)", "adamw-quarter": "4 (0.30)", "adamw-frozen": "3 (0.50)"}
    assert dict(first) == wanted | {"adamw-frozen-late": "-"}


def test_sizes_stand_in_order_with_the_number_of_examples_the_rule_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def sized(size: float, accuracy: float) -> Row:
        means = {"rule_accuracy": accuracy, "examples_to_rule@t": 100.0}
        values = {name: dict.fromkeys(range(3), mean) for name, mean in means.items()}
        return made.row("adamw").model_copy(update={"size": size, "items": {"rule": int(100 * size)}, "values": values})

    tasks = shipping(monkeypatch, "sizes", [sized(2, 0.9), sized(0.5, 0.1), sized(1, 0.5)])
    text = "\n".join(discrimination.sizes(tasks))
    (line,) = [line for line in text.splitlines() if line.startswith("| rote-vs-rule")]
    assert [cell.strip() for cell in line.split("|")[3:-1]] == ["50: 0.10", "100: 0.50", "200: 0.90", "100 (3/3)"]


def test_rows_of_other_tasks_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = shipping(monkeypatch, "planted", [])
    assert discrimination.planted(tasks | {"wugs": "another print"}) == []
