"""Scores over the values of an axis: a line for each optimizer and update, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row, Values
from synthbench.analysis.statistics import Interval
from synthbench.cards import AxisCard, RunnerCard
from synthbench.cards.axis import value_text
from synthbench.reporting.figures.marks import Marks, mean, plain, tasks
from synthbench.reporting.figures.sheet import SPREAD, Sheet, means, optimizers, updates
from synthbench.reporting.table import BASE
from synthbench.scores import SCORES

MOST_PANELS = 24
BASE_LOSS = "base loss"
GAP = Interval(nan, nan, nan, 0)  # no line leads over a value that was not read


@dataclass(frozen=True)
class OverAxis:
    """The figure of one axis."""

    axis: AxisCard

    @property
    def TITLE(self) -> str:
        return f"Over {self.axis.name}"

    @property
    def CAPTION(self) -> str:
        return f"Scores over `{self.axis.path}`, at the rates chosen for each value; means with {SPREAD}."

    @property
    def NO_DATA(self) -> str:
        return f"no rows differ in {self.axis.name} alone"

    def draw(self, rows: list[Row], card: RunnerCard) -> Figure | None:
        """A panel for each task and each of the card's scores that rows have, and for the loss before finetuning where the
        axis changes it."""
        label = self.axis.name
        rows = [row for row in plain(rows) if row.axes.get(label) in self.axis.values]
        marks = Marks(rows, [label])
        lines: dict[tuple[str, str, str], list[Row]] = {}
        for row in sorted(rows, key=lambda row: self.axis.values.index(row.axes[label])):
            lines.setdefault((row.task, marks.name(row), row.update), []).append(row)
        lines = {key: line for key, line in lines.items() if len(line) > 1}
        panels = self._panels([row for line in lines.values() for row in line], card)
        if not panels:
            return None
        drawn = [row for line in lines.values() for row in line]
        sheet = Sheet(
            self.TITLE,
            f"At the rates chosen for each value (@fit: between rates); means with {SPREAD}.\nValues in the card's order.",
            [f"{task}: {score}" for task, score in panels], (label, ""),
            [optimizers(marks, drawn), updates(marks, lines=True)],
        )  # fmt: skip
        for task, score in panels:
            axes = sheet.axes[f"{task}: {score}"]
            for (of_task, _, update), line in lines.items():
                points = {self.axis.values.index(row.axes[label]): mean(_values(row, score)) for row in line}
                known = {place: value or GAP for place, value in points.items()}
                if of_task == task and any(points.values()):
                    looks = {"marker": marks.markers[update], "linestyle": marks.style(update)}
                    means(axes, [*known], [*known.values()], marks.colour(line[0]), **looks)
            axes.set_xticks(range(len(self.axis.values)), [value_text(value) for value in self.axis.values])
            axes.set_xlim(-0.4, len(self.axis.values) - 0.6)
            axes.tick_params(labelleft=True)
            if score in SCORES and SCORES[score].unit == "share":
                axes.set_ylim(-0.04, 1.04)
        return sheet.figure

    def _panels(self, rows: list[Row], card: RunnerCard) -> list[tuple[str, str]]:
        losses: dict[str, set[str]] = {}
        for row in rows:
            losses.setdefault(row.label, set()).add(str(row.start.get(BASE["loss"])))
        has_bases = any(len(of_label) > 1 for of_label in losses.values())
        scores, names = [card.columns[0], *([BASE_LOSS] * has_bases), *card.columns[1:]], tasks(rows)
        shown = [score for score in scores if any(_values(row, score) for row in rows)]
        most = MOST_PANELS // max(1, len(names)) or 1  # whole scores, not some of their tasks
        return [(task, score) for score in shown[:most] for task in names
                if any(row.task == task and _values(row, score) for row in rows)]  # fmt: skip


def _values(row: Row, score: str) -> Values | None:
    of_start: Mapping[str, Values] = row.start
    return of_start.get(BASE["loss"]) if score == BASE_LOSS else row.values.get(score)
