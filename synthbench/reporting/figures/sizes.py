"""Rule accuracy against the number of trained rule items: how many examples it takes until the rule is found."""

from __future__ import annotations

from matplotlib.figure import Figure

from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, bar, mean, plain, tasks
from synthbench.reporting.figures.sheet import GREY, Sheet, dot, optimizers, share, style, updates
from synthbench.reporting.rows import Row
from synthbench.scores.statistics import Interval

TITLE = "How many examples it takes to find the rule"
CAPTION = (
    "Held-out rule accuracy at the end of finetuning, at the chosen rate, against the number of trained rule items; means "
    "with 95 % intervals over seeds."
)
NO_DATA = "no rows with a rule differ in the size of their data"

Lines = dict[tuple[str, str, str], list[tuple[Row, int, Interval]]]  # by task, optimizer and update, by rising items


def lines(rows: list[Row], marks: Marks) -> Lines:
    """The rows that differ in size alone, with their trained rule items and rule accuracies."""
    found: Lines = {}
    for row in sorted(rows, key=lambda row: row.size):
        accuracy = mean(row.values.get("rule_accuracy"))
        if accuracy and "rule" in row.items:
            found.setdefault((row.task, marks.name(row), row.update), []).append((row, row.items["rule"], accuracy))
    return {key: line for key, line in found.items() if len({items for _, items, _ in line}) > 1}


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = plain(rows)
    marks = Marks(rows)
    found = lines(rows, marks)
    if not found:
        return None
    drawn = [row for line in found.values() for row, _, _ in line]
    marks = Marks(drawn)
    sheet = Sheet(
        TITLE,
        "Held-out rule accuracy at the end of finetuning, at the chosen rate of each size; an item is seen equally often "
        "at all sizes.\nMeans with 95 % intervals over seeds. Better: further up, and further left.",
        tasks(drawn), "trained rule items", "rule accuracy (higher is better)",
        [optimizers(marks, drawn), updates(marks, lines=True),
         ("threshold", [(f"{card.reading.rule:g}: the rule counts as found", dot(GREY, "", linestyle=":"))])],
    )  # fmt: skip
    for (task, _, update), line in found.items():
        row = line[0][0]
        bars = [bar(accuracy) for _, _, accuracy in line]
        sheet.axes[task].errorbar(
            [items for _, items, _ in line], [accuracy.mean for _, _, accuracy in line],
            yerr=[[down for down, _ in bars], [up for _, up in bars]], color=marks.colour(row), elinewidth=0.8,
            marker=marks.marker(update), markersize=4.5, linestyle=style(update),
        )  # fmt: skip
    for task, axes in sheet.axes.items():
        share(axes, x=False)
        axes.axhline(card.reading.rule, color=GREY, linestyle=":", linewidth=1)
        ticks = sorted({items for (of, _, _), line in found.items() for _, items, _ in line if of == task})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    return sheet.figure
