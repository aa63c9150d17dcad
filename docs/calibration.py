"""A task's calibration: whether its regime lets optimizers differ, judged by that alone and never by which is better.

The runner `calibration` measures; `reports/calibration.json` holds its rows; these are the tables of tasks/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean, stdev, variance

from docs.discrimination import command
from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.pairing import differences
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import detectable
from synthbench.cards import RunnerCard
from synthbench.generators import Task
from synthbench.reporting.table import github
from synthbench.scores import SCORES

BAND = (0.1, 0.9)  # held-out rule accuracy at fit 0.9
KEPT = (0.2, 0.9)  # retention at fit 0.9
LEARNED = 0.95  # least score of the pretraining language
SEEDS = (3, 5, 10, 20)
NOTHING = 1e-6  # a deviation that rounding makes


def section(task: Task) -> list[str]:
    """The calibration of a task as lines of markdown; empty where there is none for this very task."""
    card = cards.load(RunnerCard, "calibration")
    published = reference.shipped(card)
    if (
        published is None
        or published.tasks.get(task.card.name) != task.fingerprint
        or published.card != card.fingerprint()
    ):
        return ["Not calibrated."]
    rows = [row for row in published.rows if row.task == task.card.name]
    seeds = len(rows[0].seeds)
    return [
        "### Calibration", "",
        f"Is the pretraining language learned (at least {LEARNED}), and at fit {card.reading.fit:g}, reached in "
        f"{card.reading.target_step} steps, is retention between {KEPT[0]} and {KEPT[1]}"
        + (f" and held-out accuracy of the new rule between {BAND[0]} and {BAND[1]}" if _has_rule(rows) else "")
        + f"? {seeds} seeds on {published.device}; mean (deviation between seeds).", "",
        *_regime(rows), "", "Pretraining: chosen rate and mean scores on its own facts and held-out rule items.", "",
        *_deviations(rows), "", *command("calibration"),
    ]  # fmt: skip


def _has_rule(rows: Sequence[Row]) -> bool:
    """Whether finetuning has a rule at all."""
    return any(row.values.get("rule_accuracy") for row in rows)


def _regime(rows: Sequence[Row]) -> list[str]:
    heads = ["optimizer", "update", "pretraining lr", "old facts", "old rule", "retention@fit"]
    heads += ["rule_accuracy@fit"] * _has_rule(rows) + ["in the regime"]
    return [github(heads, [_cells(row, _has_rule(rows)) for row in rows])]


def _cells(row: Row, has_rule: bool) -> list[str]:
    facts, rule = _mean(row.start, "fact_recall"), _mean(row.start, "rule_accuracy")
    accuracy = [_spread(row.values.get("rule_accuracy@fit", {}))] if has_rule else []
    return [
        row.optimizer, row.update, f"{row.start_lr:.3g}" if row.start_lr else "-", f"{facts:.3f}", f"{rule:.3f}",
        _spread(row.values.get("retention@fit", {})), *accuracy, why_not(row, has_rule) or "yes",
    ]  # fmt: skip


def why_not(row: Row, has_rule: bool = True) -> str | None:
    """What keeps a row out of the regime in which optimizers can differ, in words; None where nothing does."""
    reasons = []
    if min(_mean(row.start, "fact_recall"), _mean(row.start, "rule_accuracy")) < LEARNED:
        reasons.append("pretraining not learned")
    bounds = {"retention@fit": KEPT} | ({"rule_accuracy@fit": BAND} if has_rule else {})
    for name, (low, high) in bounds.items():
        values = row.values.get(name)
        if not values:
            reasons.append(f"{name} not reached")
        elif not low <= fmean(values.values()) <= high:
            reasons.append(name.removesuffix("@fit") + (" too low" if fmean(values.values()) < low else " too high"))
    return f"no: {', '.join(reasons)}" if reasons else None


def _deviations(rows: Sequence[Row]) -> list[str]:
    """How much every score varies between seeds, and the differences that so many seeds detect."""
    lines, fixed = [], []
    for name in SCORES:
        alone, paired = pooled(rows, name)
        if alone > NOTHING:
            detected = [f"{detectable(paired / sqrt(n), n - 1):.2g}" if paired > NOTHING else "-" for n in SEEDS]
            lines.append([name, f"{alone:.2g}", f"{paired:.2g}" if paired > NOTHING else "-", *detected])
        elif values := sorted({value for row in rows for value in row.exact(name).values()}):
            span = f"{values[0]:.3g}" if values[-1] - values[0] < NOTHING else f"{values[0]:.3g} to {values[-1]:.3g}"
            fixed.append(f"{name} ({span})")
    heads = ["score", "deviation between seeds", "of paired differences", *(f"n = {n}" for n in SEEDS)]
    return [
        "<details><summary>How much every score varies between seeds, and the smallest difference between two optimizers "
        "that 3, 5, 10 and 20 seeds detect with 80 % power</summary>", "",
        github(heads, lines), "",
        "Pooled over the rows above; paired differences are those of two optimizers under the same update.", "",
        *([f"Uninformative here, for they are the same at every seed: {', '.join(fixed)}.", ""] if fixed else []),
        "</details>",
    ]  # fmt: skip


def pooled(rows: Sequence[Row], name: str) -> tuple[float, float]:
    """The deviation of a score between seeds, and of its paired differences between optimizers under one update; roots
    of mean variances, 0 where nothing was measured."""
    alone = [variance(values.values()) for row in rows if len(values := row.exact(name)) > 1]
    pairs = [differences(a.exact(name), b.exact(name))
             for a, b in combinations(rows, 2) if a.update == b.update and a.optimizer != b.optimizer]  # fmt: skip
    paired = [variance(pair.values()) for pair in pairs if len(pair) > 1]
    return (sqrt(fmean(alone)) if alone else 0.0), (sqrt(fmean(paired)) if paired else 0.0)


def _mean(values: dict[str, dict[int, float]], name: str) -> float:
    return fmean(values[name].values()) if values.get(name) else 0.0


def _spread(values: dict[int, float]) -> str:
    if not values:
        return "not reached"
    return f"{fmean(values.values()):.2f}" + (f" ({stdev(values.values()):.2f})" if len(values) > 1 else "")
