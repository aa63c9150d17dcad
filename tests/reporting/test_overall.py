"""The table over tasks: means of tasks with seeds as clusters, against numbers computed by hand."""

from __future__ import annotations

from math import sqrt

import pytest
from scipy.stats import t

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.overall import overall
from tests.analysis.example_rows import CARD, row

LEARNING = {"muon": {"a": [0.5, 0.7, 0.6], "b": [0.1, 0.5, 0.3]}, "adamw": {"a": [0.9, 0.9, 0.9], "b": [0.7, 0.7, 0.7]}}
RANKED = CARD.model_copy(update={"rank": "learning"})


def rows(card: RunnerCard = CARD) -> list[Row]:
    """Two optimizers on two tasks."""
    return [
        row(name, readings={"learning": values}).model_copy(update={"task": task})
        for name, by_task in LEARNING.items()
        for task, values in by_task.items()
    ]


def test_a_mean_over_tasks_has_the_interval_of_the_seeds_means() -> None:
    """With the same seeds in every task the interval is Student's t of each seed's mean over tasks: .3, .6, .45."""
    table = overall(rows(), RANKED, ["learning"])
    assert table is not None
    assert [line[:2] for line in table.cells()] == [["adamw", "full"], ["muon", "full"]]
    entry = table.entry(1, "learning")
    half = t.ppf(0.975, 2) * 0.15 / sqrt(3)
    assert (entry.mean, entry.n) == (0.45, 3)
    assert (entry.low, entry.high) == pytest.approx((0.45 - half, 0.45 + half), abs=1e-4)


def test_a_row_that_a_task_lacks_or_was_not_read_in_has_no_mean() -> None:
    muon, *others = rows()
    unread = muon.model_copy(update={"values": muon.values | {"rule_accuracy@fit": {}}})
    table = overall([unread, *others], RANKED, ["rule_accuracy@fit"])
    assert table is not None
    assert [line[2] for line in table.cells()] == ["0.50 ±0.00", "not reached"]
    without = overall(others, RANKED, ["learning"])
    assert without is not None
    assert [one.label for one in without.rows] == ["adamw"]
    assert overall([muon], RANKED, ["learning"]) is None


def test_repetitions_under_another_salt_are_left_out() -> None:
    card = RunnerCard.model_validate(
        RANKED.model_dump(by_alias=True) | {"variants": {"again": {"of": "adamw", "salt": "again"}}}
    )
    twins = [one.model_copy(update={"optimizer": "again", "variant_of": "adamw"}) for one in rows()[2:]]
    table = overall([*rows(), *twins], card, ["learning"])
    assert table is not None
    assert [one.optimizer for one in table.rows] == ["adamw", "muon"]
