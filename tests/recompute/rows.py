"""Rows of the export: which runs count, and which learning rate is chosen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import inf
from statistics import fmean
from typing import Any

from tests.recompute.runs import FORGOTTEN, Object

TIE = 0.01  # of validation learning
NAMES = ("task", "base", "optimizer", "update", "weight_decay", "size")


class Row:
    """The runs of one optimizer and update over rates and seeds. before: the row that they start from."""

    def __init__(self, card: Object, names: Sequence[Any], runs: Sequence[Object], before: Row | None) -> None:
        self.task, self.base, self.optimizer, self.update, self.weight_decay, self.size = self.names = tuple(names)
        self.label = "/".join(filter(None, (self.base, self.optimizer)))
        self.reading, self.before, self.sizes = card["reading"], before, [self]
        started = {run["run"] for run in before.chosen} if before else {None}
        runs = [run for run in runs if run["parent"] in started]
        self.rates, seeds = sorted({run["lr"] for run in runs}), Counter(run["seed"] for run in runs)
        self.runs = [run for run in runs if seeds[run["seed"]] == len(self.rates)] or runs  # seeds that have every rate
        self.seeds = sorted({run["seed"] for run in self.runs})
        self.converged = [run for run in self.runs if run["status"] == "ok"]
        self.lr = self._choice()
        self.chosen: list[Object] = [run for run in self.runs if run["lr"] == self.lr and run["status"] == "ok"]
        self.edge = len(self.rates) > 1 and self.lr in (self.rates[0], self.rates[-1])
        self.edge_before: bool = bool(before and (before.edge or before.edge_before))
        self.trials: list[int] = [*(before.trials if before else ()), len(self.rates)]
        self.device = " + ".join(sorted({run["device"] for run in self.runs}))

    def _mean(self, name: str, lr: float, of_diverged: float) -> float:
        runs = [run for run in self.runs if run["lr"] == lr]
        scores = [run["scores"][name] if run["status"] == "ok" else of_diverged for run in runs]
        return float("nan") if None in scores else fmean(scores)

    def _choice(self) -> float | None:
        """The rate that learns most; within a tie the one that forgets least, has the lowest loss, is lowest."""
        learned = {lr: self._mean("validation_learning", lr, 0) for lr in sorted({run["lr"] for run in self.converged})}

        def order(lr: float) -> tuple[float, ...]:
            forgotten = [self._mean(name, lr, 1) for name in FORGOTTEN.values()]
            known = [mean for mean in forgotten if mean == mean]
            return fmean(known or [0]), self._mean("validation_loss", lr, inf), lr

        return min((lr for lr in learned if learned[lr] >= max(learned.values()) - TIE), key=order, default=None)


def rows_of(runs: Sequence[Object], card: Object) -> tuple[list[Row], list[Row]]:
    """The rows of the last stage, and those before them."""
    stages = [stage["name"] for stage in card["stages"]]
    cells: dict[tuple[Any, ...], list[Object]] = defaultdict(list)
    for run in runs:
        for label in run["rows"]:
            items = sum(run["examples"].values())
            key = stages.index(run["stage"]), run["task"], label, run["trainable"], run["weight_decay"], items
            cells[key].append(run)
    rows: list[tuple[int, Row]] = []
    for (stage, task, label, update, decay, items), of_cell in sorted(cells.items(), key=lambda cell: cell[0][0]):
        base, _, optimizer = label.rpartition("/")
        totals = sorted({cell[-1] for cell in cells if cell[:2] == (stage, task)})
        size = float(sorted(card["stages"][stage].get("sizes", [1.0]))[totals.index(items)])
        parents = {run["parent"] for run in of_cell}  # whose task may be a family of tasks
        earlier = (row for _, row in rows if row.label == base and parents & {run["run"] for run in row.runs})
        rows.append((stage, Row(card, (task, base, optimizer, update, decay, size), of_cell, next(earlier, None))))
    last = [row for stage, row in rows if stage == len(stages) - 1 and row.runs]
    for row in last:
        row.sizes = [other for other in last if other.names[:-1] == row.names[:-1]]
        variant = card.get("variants", {}).get(row.optimizer, {})
        if variant.get("of_tuned"):  # a share of the rate that is chosen for another row: tuned as often as that
            row.trials = next(other.trials for other in last if other.names == _of(row, variant["of"]))
    return last, [row for stage, row in rows if stage < len(stages) - 1]


def _of(row: Row, optimizer: str) -> tuple[Any, ...]:
    return *row.names[:2], optimizer, *row.names[3:]


def is_like(row: Row, other: Row, apart: Sequence[str]) -> bool:
    """Whether two rows are the same in all but this."""
    return all(a == b for name, a, b in zip(NAMES, row.names, other.names, strict=True) if name not in apart)
