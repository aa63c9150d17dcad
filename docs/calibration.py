"""A task's calibration: whether its regime lets optimizers differ, judged by that alone and never by which is better.

The runners `calibration` and `skills` measure; `reports/` holds their rows; these are the tables of tasks/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import nan, sqrt
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

RUNNERS = ("calibration", "skills")
BAND = (0.1, 0.9)  # held-out rule accuracy at fit 0.9
KEPT = (0.2, 0.9)  # retention at fit 0.9
LEARNED = 0.95  # least score of the pretraining language
MOST_OVERWRITTEN = 0.02  # of the old rule's held-out items, answered by the new rule at fit 0.9
MIRROR = ("rule_accuracy@fit", "skill_forgetting@fit")
SEEDS = (3, 5, 10, 20)
NOTHING = 1e-6  # a deviation that rounding makes


def section(task: Task) -> list[str]:
    """The calibration of a task as lines of markdown; empty where there is none for this very task."""
    card = next((card for card in map(_card, RUNNERS) if task.card.name in card.tasks), None)
    if card is None:
        return []
    published = reference.shipped(card)
    if (
        published is None
        or published.tasks.get(task.card.name) != task.fingerprint
        or published.card != card.fingerprint()
    ):
        return ["Not calibrated.", ""]
    rows = [row for row in published.rows if row.task == task.card.name]
    seeds = len(rows[0].seeds)
    return [
        "### Calibration", "",
        f"Is the pretraining language learned (at least {LEARNED}), and at fit {card.reading.fit:g}, reached in "
        f"{card.reading.target_step} steps, is retention between {KEPT[0]} and {KEPT[1]}, held-out accuracy of the new "
        f"rule between {BAND[0]} and {BAND[1]}, and at most {MOST_OVERWRITTEN} of the old rule's items answered by the new "
        f"one? {seeds} seeds, which no report uses, on {published.device}; mean (deviation between seeds).", "",
        *_regime(rows), "", "Pretraining: chosen rate and mean scores on its own facts and held-out rule items.", "",
        *_mirror(rows), "", *_deviations(rows), "", *command(card.name),
    ]  # fmt: skip


def _card(name: str) -> RunnerCard:
    return cards.load(RunnerCard, name)


def _regime(rows: Sequence[Row]) -> list[str]:
    heads = ["optimizer", "update", "pretraining lr", "old facts", "old rule", "retention@fit", "rule_accuracy@fit"]
    return [github([*heads, "overwritten@fit", "in the regime"], [_cells(row) for row in rows])]


def _cells(row: Row) -> list[str]:
    facts, rule = (f"{mean:.3f}" if mean == mean else "-" for mean in _before(row))
    spreads = [_spread(row.values.get(name, {})) for name in ("retention@fit", "rule_accuracy@fit", "overwritten@fit")]
    lr = f"{row.start_lr:.3g}" if row.start_lr else "-"
    return [row.optimizer, row.update, lr, facts, rule, *spreads, why_not(row) or "yes"]


def why_not(row: Row) -> str | None:
    """What keeps a row out of the regime in which optimizers can differ, in words; None where nothing does."""
    reasons = []
    if min((mean for mean in _before(row) if mean == mean), default=0.0) < LEARNED:
        reasons.append("pretraining not learned")
    bounds = {"retention@fit": KEPT, "rule_accuracy@fit": BAND, "overwritten@fit": (0.0, MOST_OVERWRITTEN)}
    for name, (low, high) in bounds.items():
        values = row.values.get(name)
        if not values:
            reasons.append(f"{name} not reached")
        elif not low <= fmean(values.values()) <= high:
            reasons.append(name.removesuffix("@fit") + (" too low" if fmean(values.values()) < low else " too high"))
    return f"no: {', '.join(reasons)}" if reasons else None


def _before(row: Row) -> tuple[float, float]:
    """What a model knew of its pretraining language: facts and held-out items of the rule, NaN where it has none."""
    return _mean(row.start, "fact_recall"), _mean(row.start, "rule_accuracy")


def _mirror(rows: Sequence[Row]) -> list[str]:
    """Whether the old rule is forgotten as the new one is learned: how the two go together."""
    count, across, within = correlations(rows, *MIRROR)
    if across is None or within is None:
        return []
    names = " and ".join(f"`{name}`" for name in MIRROR)
    return [f"A mirror? {names} correlate at {across:+.2f} over {count} seeds of rows, within rows at {within:+.2f}."]


def correlations(rows: Sequence[Row], first: str, second: str) -> tuple[int, float | None, float | None]:
    """The correlation of two scores over the seeds of all rows, and of their deviations from each row's means; None where
    one of them does not vary. With the number of seeds of rows."""
    values, deviations = [], []
    for row in rows:
        ones, others = row.exact(first), row.exact(second)
        pairs = [(ones[seed], others[seed]) for seed in sorted(ones.keys() & others.keys())]
        values += pairs
        deviations += _centred(pairs)
    return len(values), _cosine(_centred(values)), _cosine(deviations)


def _centred(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if not pairs:
        return []
    x, y = (fmean(pair[side] for pair in pairs) for side in (0, 1))
    return [(one - x, other - y) for one, other in pairs]


def _cosine(pairs: Sequence[tuple[float, float]]) -> float | None:
    squares = sum(x * x for x, _ in pairs) * sum(y * y for _, y in pairs)
    return sum(x * y for x, y in pairs) / sqrt(squares) if squares else None


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
    return fmean(values[name].values()) if values.get(name) else nan


def _spread(values: dict[int, float]) -> str:
    if not values:
        return "not reached"
    return f"{fmean(values.values()):.2f}" + (f" ({stdev(values.values()):.2f})" if len(values) > 1 else "")
