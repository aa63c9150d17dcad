"""Rows that are read at no speed, and what is said of their rates; from folders in which nothing was trained."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from synthbench.experiment.runs import Cell
from synthbench.experiment.store import Store
from synthbench.reporting import pace, report
from tests.each import each
from tests.reporting import filled, made

FULL = "stages.finetune.update=['full']"  # its paths reach fit .9 after 6 steps at 1e-3 and after 4 at 2e-3
WHO = "adamw (full) on tiny-task"


@each(
    ("speed", "said"),
    [(5, None), (9, "quick 9 0.9 slowest 0.001 6 smaller --lr"), (2, "slow 2 0.9 quickest 0.002 4 larger --lr")],
)
def test_a_row_read_at_no_speed_says_which_rates_to_add(tmp_path: Path, speed: int, said: str | None) -> None:
    reading = f"reading.speeds=[{speed}]", f"reading.speed={speed}"
    out = filled.folder(tmp_path / str(speed), lambda _: {"learning": 1.0}, FULL, *reading, optimizers=["adamw"])
    with closing(Store.read(out)) as store:
        found = report.latest(store).advice
    assert len(found) == (1 if said else 0)
    assert all(part in found[0] for part in [WHO, *said.split()]) if said else not found


@each(
    ("seeds", "size", "said"),
    [
        ([{1e-3: 120, 3e-3: 80}] * 8 + [{1e-3: 99, 3e-3: 80}], 1.0, None),
        ([{1e-3: None, 3e-3: None}], 1.0, ["wugs", "0.9"]),
        ([{1e-3: None, 3e-3: 80}], 1.0, ["slowest", "0.003", "80", "between 0.001"]),
        ([{1e-3: 130, 3e-3: 120, 9e-3: 125}], 1.0, ["quickest", "0.003", "120", "quicker"]),
        ([{1e-3: 80, 3e-3: 60}] * 2 + [{1e-3: 140, 3e-3: 70}] * 3, 1.0,
         ["100", "0.9", "3 of 5 seeds", "140 at 0.001", "70 at 0.003"]),
        ([{1e-3: 140, 3e-3: 90}], 2.0, ["wugs", "2x", "quick", "200"]),
    ],
)  # fmt: skip
def test_the_rates_to_add(seeds: list[pace.Steps], size: float, said: list[str] | None) -> None:
    cell = Cell("wugs", "finetune", ("adamw",), "adamw", "full", 0.0, size)
    found = pace.said_of(cell, seeds, made.CARD)
    assert found is None if said is None else all(part in str(found) for part in said)
