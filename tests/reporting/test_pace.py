"""Rows that are read at no speed, and what is said of their rates; from folders in which nothing was trained."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from synthbench.experiment.runs import Cell
from synthbench.experiment.store import Store
from synthbench.reporting import pace, report
from tests.reporting import filled, made

FULL = "stages.finetune.update=['full']"  # its paths reach fit .9 after 6 steps at 1e-3 and after 4 at 2e-3
WHO = "adamw (full) on tiny-task"


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (5, None),
        (9, "too quick to be read at 9 steps to fit 0.9: at its slowest rate, 0.001, it takes 6; "
         "add smaller rates (--lr)."),
        (2, "too slow to be read at 2 steps to fit 0.9: at its quickest rate, 0.002, it takes 4; "
         "add larger rates (--lr)."),
    ],
)  # fmt: skip
def test_a_row_read_at_no_speed_says_which_rates_to_add(tmp_path: Path, speed: int, said: str | None) -> None:
    reading = f"reading.speeds=[{speed}]", f"reading.speed={speed}"
    out = filled.folder(tmp_path, lambda _: {"learning": 1.0}, FULL, *reading, optimizers=["adamw"])
    with closing(Store.read(out)) as store:
        assert report.latest(store).advice == ([f"{WHO} is {said}"] if said else [])


@pytest.mark.parametrize(
    ("seeds", "size", "said"),
    [
        ([{1e-3: 120, 3e-3: 80}] * 8 + [{1e-3: 99, 3e-3: 80}], 1.0, None),
        ([{1e-3: None, 3e-3: None}], 1.0, "wugs reaches fit 0.9 at no rate"),
        ([{1e-3: None, 3e-3: 80}], 1.0, "slowest rate, 0.003, it takes 80; add rates between 0.001 and that"),
        ([{1e-3: 130, 3e-3: 120, 9e-3: 125}], 1.0, "quickest rate, 0.003, it takes 120; add rates at which it is quicker"),
        ([{1e-3: 80, 3e-3: 60}] * 2 + [{1e-3: 140, 3e-3: 70}] * 3, 1.0,
         "both sides of 100 steps to fit 0.9 at 3 of 5 seeds (medians: 140 at 0.001, 70 at 0.003)"),
        ([{1e-3: 140, 3e-3: 90}], 2.0, "wugs, 2x the items is too quick to be read at 200 steps"),
    ],
)  # fmt: skip
def test_the_rates_to_add(seeds: list[pace.Steps], size: float, said: str | None) -> None:
    cell = Cell("wugs", "finetune", ("adamw",), "adamw", "full", 0.0, size)
    found = pace.said_of(cell, seeds, made.CARD)
    assert found is None if said is None else said in str(found)
