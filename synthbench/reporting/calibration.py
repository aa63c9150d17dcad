"""A task's calibration: whether its regime lets optimizers differ, judged by that alone and never by who is better.

The runner `calibration` measures; `reports/calibration.json` holds its rows; this makes the table of tasks/README.md.
"""

from __future__ import annotations

from statistics import fmean, stdev

from synthbench import cards
from synthbench.cards import RunnerCard
from synthbench.generators import Task
from synthbench.reporting import reference
from synthbench.reporting.rows import Row

BAND = (0.1, 0.9)  # held-out rule accuracy at fit 0.9
KEPT = (0.2, 0.9)  # retention at fit 0.9
LEARNED = 0.95  # least score of the pretraining language
COMMAND = (
    "synthbench run calibration --out calibration-results && "
    "synthbench report --out calibration-results --format reference > reports/calibration.json"
)


def section(task: Task) -> list[str]:
    """The calibration of a task as lines of markdown; empty where there is none for this very task."""
    from tabulate import tabulate

    card = cards.load(RunnerCard, "calibration")
    found = reference.shipped(card)
    if found is None or found.tasks.get(task.card.name) != task.fingerprint or found.card != card.fingerprint():
        return ["Not calibrated."]
    rows = [row for row in found.rows if row.task == task.card.name]
    seeds = len(rows[0].seeds)
    return [
        "### Calibration", "",
        f"Is the pretraining language learned (at least {LEARNED}), and at fit {card.reading.fit:g}, reached in "
        f"{card.reading.speed} steps, is retention between {KEPT[0]} and {KEPT[1]} and held-out accuracy of the new rule "
        f"between {BAND[0]} and {BAND[1]}? {seeds} seeds on {found.device}; mean (deviation between seeds).", "",
        tabulate([_cells(row) for row in rows], _HEADS, tablefmt="github", disable_numparse=True),
        "", "Pretraining: chosen rate and mean scores on its own facts and held-out rule items.", "",
        f"```sh\n{COMMAND}\n```", "",
    ]  # fmt: skip


_HEADS = [
    "optimizer",
    "update",
    "pretraining lr",
    "old facts",
    "old rule",
    "retention@fit",
    "rule_accuracy@fit",
    "in the regime",
]


def _cells(row: Row) -> list[str]:
    facts, rule = _mean(row.start, "fact_recall"), _mean(row.start, "rule_accuracy")
    retention, accuracy = row.values.get("retention@fit", {}), row.values.get("rule_accuracy@fit", {})
    return [
        row.optimizer, row.update, f"{row.start_lr:.3g}" if row.start_lr else "-", f"{facts:.3f}", f"{rule:.3f}",
        _spread(retention), _spread(accuracy), "yes" if in_regime(row) else "no",
    ]  # fmt: skip


def in_regime(row: Row) -> bool:
    """Whether a row's pretraining was learned and its finetuning half forgets and half generalizes."""
    readings = row.values.get("retention@fit", {}), row.values.get("rule_accuracy@fit", {})
    if not all(readings):
        return False
    learned = min(_mean(row.start, "fact_recall"), _mean(row.start, "rule_accuracy")) >= LEARNED
    kept, found = (fmean(values.values()) for values in readings)
    return learned and KEPT[0] <= kept <= KEPT[1] and BAND[0] <= found <= BAND[1]


def _mean(values: dict[str, dict[int, float]], name: str) -> float:
    return fmean(values[name].values()) if values.get(name) else 0.0


def _spread(values: dict[int, float]) -> str:
    if not values:
        return "not reached"
    return f"{fmean(values.values()):.2f}" + (f" ({stdev(values.values()):.2f})" if len(values) > 1 else "")
