"""Rule accuracy against the number of trained rule items: how many examples it takes until the rule is found."""

from __future__ import annotations

from collections.abc import Collection

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row, changes_items
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, mean, plain, tasks
from synthbench.reporting.figures.sheet import GREY, SPREAD, Sheet, dot, means, optimizers, updates

TITLE = "How many examples it takes to find the rule"
CAPTION = (
    "Held-out rule accuracy at the end of finetuning, at the chosen rate, against the number of trained rule items; means "
    f"with {SPREAD}. Variants are left out."
)
NO_DATA = "no rows with a rule differ in the size of their data"

Lines = dict[tuple[str, str, str], dict[int, tuple[Row, Interval]]]  # by task, optimizer and update; by rising items


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    apart_from = [axis.name for axis in card.axes if changes_items(axis)]
    by_setting = lines(plain(rows), apart_from)
    if not by_setting:
        return None
    drawn = [row for line in by_setting.values() for row, _ in line.values()]
    marks = Marks(drawn, apart_from)
    sheet = Sheet(
        TITLE,
        "At the end of finetuning, at the chosen rate of each size; an item is seen equally often at all sizes.\n"
        f"Means with {SPREAD}. Better: further up and further left.",
        tasks(drawn), ("trained rule items", "held-out rule accuracy"),
        [optimizers(marks, drawn), updates(marks, lines=True),
         ("threshold", [(f"{card.reading.rule:g}: the rule counts as found", dot(GREY, "", linestyle=":"))])],
    )  # fmt: skip
    ticks: dict[str, set[int]] = {}
    for (task, _, update), line in by_setting.items():
        (row, *_), accuracies = zip(*line.values(), strict=True)
        looks = {"marker": marks.markers[update], "linestyle": marks.style(update)}
        means(sheet.axes[task], [*line], accuracies, marks.colour(row), **looks)
        ticks.setdefault(task, set()).update(line)
    for task, axes in sheet.axes.items():
        axes.axhline(card.reading.rule, color=GREY, linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(ticks[task]), list(map(str, sorted(ticks[task]))))
        axes.set_xticks([], minor=True)
        axes.set_xlim(min(ticks[task]) / 1.15, max(ticks[task]) * 1.15)
    sheet.shares("y")
    return sheet.figure


def lines(rows: list[Row], apart_from: Collection[str]) -> Lines:
    """The rows that differ in size alone (the axes apart_from), with their trained rule items and rule accuracies."""
    by_setting, marks = Lines(), Marks(rows, apart_from)
    for row in sorted(rows, key=lambda row: row.items.get("rule", 0)):
        accuracy = mean(row.values.get("rule_accuracy"))
        if accuracy and "rule" in row.items:
            by_setting.setdefault((row.task, marks.name(row), row.update), {})[row.items["rule"]] = row, accuracy
    return {setting: line for setting, line in by_setting.items() if len(line) > 1}
