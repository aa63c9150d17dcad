"""Rule accuracy against the number of trained rule items: how many examples it takes until the rule is found."""

from __future__ import annotations

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, mean, plain, tasks
from synthbench.reporting.figures.sheet import GREY, SPREAD, Panels, Sheet, dot, means, optimizers, updates

TITLE = "How many examples it takes to find the rule"
CAPTION = (
    "Held-out rule accuracy at the end of finetuning, at the chosen rate, against the number of trained rule items; means "
    f"with {SPREAD}."
)
NO_DATA = "no rows with a rule differ in the size of their data"

Lines = dict[tuple[str, str, str], dict[int, tuple[Row, Interval]]]  # by task, optimizer and update; by rising items


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    found = lines(plain(rows))
    if not found:
        return None
    drawn = [row for line in found.values() for row, _ in line.values()]
    marks = Marks(drawn)
    sheet = Sheet(
        TITLE,
        "At the end of finetuning, at the chosen rate of each size; an item is seen equally often at all sizes.\n"
        f"Means with {SPREAD}. Better: further up and further left.",
        Panels(tasks(drawn), "trained rule items", "held-out rule accuracy"),
        [optimizers(marks, drawn), updates(marks, lines=True),
         ("threshold", [(f"{card.reading.rule:g}: the rule counts as found", dot(GREY, "", linestyle=":"))])],
    )  # fmt: skip
    for (task, _, update), line in found.items():
        row, accuracies = next(iter(line.values()))[0], [accuracy for _, accuracy in line.values()]
        means(
            sheet.axes[task],
            [*line],
            accuracies,
            marks.colour(row),
            marks.marker(update),
            linestyle=marks.style(update),
        )
    for task, axes in sheet.axes.items():
        axes.axhline(card.reading.rule, color=GREY, linestyle=":", linewidth=1)
        ticks = sorted({items for (of_task, _, _), line in found.items() for items in line if of_task == task})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.set_xticks([], minor=True)
        axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    sheet.shares("y")
    return sheet.figure


def lines(rows: list[Row]) -> Lines:
    """The rows that differ in size alone, with their trained rule items and rule accuracies."""
    found, marks = Lines(), Marks(rows)
    for row in sorted(rows, key=lambda row: row.size):
        accuracy = mean(row.values.get("rule_accuracy"))
        if accuracy and "rule" in row.items:
            found.setdefault((row.task, marks.name(row), row.update), {})[row.items["rule"]] = row, accuracy
    return {key: line for key, line in found.items() if len(line) > 1}
