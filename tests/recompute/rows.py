"""Rows of the export: which runs count, and which learning rate is chosen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from math import inf
from statistics import fmean
from typing import Any

from tests.recompute.runs import FORGOTTEN, Object

TIE = 0.01  # of validation learning
WARMUP = 0.05  # share of a stage's steps, where its card has none
NAMES = ("task", "base", "optimizer", "update", "axes")
Axes = tuple[tuple[str, Any], ...]  # by label, in order


class Row:
    """The runs of one optimizer and update at one place of the axes, over rates and seeds. before: the row that they start
    from."""

    def __init__(self, card: Object, names: Sequence[Any], runs: Sequence[Object], before: Row | None) -> None:
        self.task, self.base, self.optimizer, self.update, axes = self.names = tuple(names)
        self.axes: Object = dict(axes)
        self.label = "/".join(filter(None, (self.base, self.optimizer)))
        self.name = _name(self.base, self.optimizer, card)
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
        self.size, self.weight_decay = _size(self.axes, card), {run["weight_decay"] for run in runs}

    @property
    def coordinates(self) -> Object:
        """Its values on all that a claim may call an axis."""
        return {"size": self.size, "weight_decay": min(self.weight_decay, default=None)} | self.axes

    def exposure(self, card: Object) -> float | None:
        """Of the models that it starts from: decay times summed rate. Cosine over n steps to a tenth sums to
        n / 10 + 9 / 10 (n - 1) / 2, a linear warm-up of w steps to (w + 1) / 2."""
        run = next((run for run in self.before.chosen), None) if self.before else None
        if run is None:
            return None
        on_axis = {axis["path"]: run["axis_values"].get(axis_label(axis)) for axis in card.get("axes", [])}
        stage = next(stage for stage in card["stages"] if stage["name"] == run["stage"])
        names = "schedule", "warmup"
        schedule, warmup = (on_axis.get(f"stages.{run['stage']}.{name}") or stage.get(name, WARMUP) for name in names)
        warm = round(warmup * run["steps"])
        left = run["steps"] - warm
        summed = left if schedule == "constant" else 0.1 * left + 0.45 * (left - 1)
        return float(run["weight_decay"] * run["lr"] * (summed + (warm + 1) / 2 * (warm > 0)))

    def base_mean(self, name: str) -> float:
        """A score of the models that it starts from."""
        known = [run["scores"][name] for run in self.before.chosen if run["seed"] in self.seeds] if self.before else []
        known = [value for value in known if value is not None]
        return fmean(known) if known else float("nan")

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
            axes: Axes = tuple(sorted(run["axis_values"].items()))
            cells[stages.index(run["stage"]), run["task"], label, run["trainable"], axes].append(run)
    rows: list[tuple[int, Row]] = []
    for (stage, task, label, update, axes), of_cell in sorted(cells.items(), key=lambda cell: cell[0][0]):
        base, _, optimizer = label.rpartition("/")
        parents = {run["parent"] for run in of_cell}  # whose task may be a family of tasks
        earlier = (row for _, row in rows if row.label == base and parents & {run["run"] for run in row.runs})
        rows.append((stage, Row(card, (task, base, optimizer, update, axes), of_cell, next(earlier, None))))
    last = [row for stage, row in rows if stage == len(stages) - 1 and row.runs]
    for row in last:
        row.sizes = [other for other in last if is_like(row, other, _size_labels(card))]
        variant = card.get("variants", {}).get(row.optimizer, {})
        if variant.get("of_tuned"):  # a share of the rate that is chosen for another row: tuned as often as that
            names = {**dict(zip(NAMES, row.names, strict=True)), "optimizer": variant["of"]}
            row.trials = next(other.trials for other in last if other.names == tuple(names.values()))
    return last, [row for stage, row in rows if stage < len(stages) - 1]


def is_like(row: Row, other: Row, apart: Collection[str]) -> bool:
    """Whether two rows are the same in all but this. A row that is not on an axis is like those at every value of it."""
    shared = [label for label in row.axes if label in other.axes and label not in apart]
    names = [name for name in NAMES[:-1] if name not in apart]
    return all(getattr(row, name) == getattr(other, name) for name in names) and all(
        row.axes[label] == other.axes[label] for label in shared
    )


def axis_label(axis: Object) -> str:
    return str(axis.get("label") or axis["path"].rpartition(".")[2].replace("_", "-"))


def _size_labels(card: Object) -> list[str]:
    """The axes of how much of the last stage's items is trained."""
    path = f"stages.{card['stages'][-1]['name']}.size"
    return [axis_label(axis) for axis in card.get("axes", []) if axis["path"] == path]


def _size(axes: Object, card: Object) -> float:
    own = card["stages"][-1].get("size", 1.0)
    return float(next((axes[label] for label in _size_labels(card) if label in axes), own))


def _name(base: str, optimizer: str, card: Object) -> str:
    """As tables have it: `muon on adamw` where another optimizer pretrained. A variant without a base of its own starts
    from that of its optimizer."""
    variant = card.get("variants", {}).get(optimizer, {})
    own = {"", optimizer} if variant.get("base") == optimizer else {"", optimizer, variant.get("of")}
    return f"{optimizer} on {base}" if set(base.split("/")) - own else optimizer
