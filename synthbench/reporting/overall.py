"""The first table of a card with several tasks: a row for each optimizer and update, means over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

from synthbench.analysis.contrast import Contrast
from synthbench.analysis.rows import Row, applies
from synthbench.analysis.statistics import difference
from synthbench.cards import RunnerCard
from synthbench.reporting.table import Entry, Table, value_or_dash
from synthbench.scores import SCORES


@dataclass(frozen=True)
class Overall(Table):
    """groups: the rows of each optimizer and update, one a task; `rows` holds the first of each."""

    groups: Sequence[Sequence[Row]] = ()

    def fixed(self) -> dict[str, list[str]]:
        return {
            "optimizer": [row.label + "*" * row.reference for row in self.rows],
            "update": [row.movable for row in self.rows],
            **{label: [value_or_dash(row.axes.get(label)) for row in self.rows] for label in self.labels},
        }

    def entry(self, index: int, name: str) -> Entry:
        """The mean over tasks, each counting once, with seeds as clusters; nothing where a task was not read."""
        values = [row.exact(name) for row in self.groups[index] if applies(name, row)]
        if not values or not all(values):
            return Entry()
        return Entry.of(difference(Contrast(values)), name)

    def _text(self, index: int, name: str) -> str:
        group = self.groups[index]
        if not any(applies(name, row) for row in group):
            return "-"
        diverged = any(row.lr is None for row in group)
        return self.entry(index, name).text(0 if diverged else len({seed for row in group for seed in row.seeds}))


def overall(rows: Sequence[Row], card: RunnerCard, scores: Sequence[str]) -> Overall | None:
    """The table over tasks, the best row first; None where there are not several tasks with the same rows. Repetitions of
    an optimizer under another salt (A/A) are left out, and medians, which have no mean over tasks."""
    scores = [name for name in scores if not name.endswith("@t")]
    salted = {name for row in rows for name in card.salted(row.optimizer) if name in card.variants}
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if salted.isdisjoint([row.optimizer, *row.base]):
            groups.setdefault((row.label, row.update, *row.axes.items(), row.reference), []).append(row)
    tasks = {row.task for row in rows}
    whole = [group for group in groups.values() if len(group) == len(tasks) == len({row.task for row in group})]
    if len(tasks) < 2 or not whole or not scores:
        return None
    by = card.rank or scores[0]
    whole.sort(key=lambda group: _mean(group, by), reverse=SCORES[by].better != "down")
    return Overall([group[0] for group in whole], scores, groups=whole)


def _mean(group: Sequence[Row], name: str) -> float:
    """The mean over tasks; that of a score which is nowhere is put last."""
    means = [fmean(values.values()) for row in group if (values := row.exact(name))]
    return fmean(means) if means else -inf if SCORES[name].better != "down" else inf
