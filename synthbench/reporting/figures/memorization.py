"""What rows have memorized and generalized at equal fit: a line a row, to compare neighbours along one axis."""

from __future__ import annotations

from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.wording import short
from synthbench.reporting.figures.marks import WIDEST, Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, INK, SPREAD, Sheet, at_fit, dot, means, optimizers

TITLE = "Memorized or generalized, at equal fit"
CAPTION = (
    "Memorization and generalization at equal fit: held-out rule items (filled), and trained items that follow no rule "
    f"(open); means with {SPREAD}."
)
NO_DATA = "no row was read at equal fit"
RULE = "rule_accuracy@fit"
ROTE = {  # the first that a task's rows have; at one fit the first three are nearly fixed by it
    "exception_recall@fits": "exceptions*",
    "noise_recall@fits": "wrong labels*",
    "tail_recall@fits": "rare facts*",
    "fact_recall@fit": "new facts",
}
STEP, GAP = 0.14, 0.1  # inches of a line, and between groups of them


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = of_one_size(rows)
    optimizer_rows, marks = plain(rows), Marks(rows)
    rows = [row for row in rows if row in optimizer_rows or _is_read(row)]  # variants of one rate cannot be read
    if not any(map(_is_read, rows)):
        return None
    # a line's group (the update, or after all of these the variants) and the optimizer
    keys = {id(row): (marks.labels[row.update] if row in optimizer_rows else "", marks.name(row)) for row in rows}
    groups = [group for group in (*map(marks.labels.get, marks.updates), "") if group in dict(keys.values())]
    lines = sorted(dict.fromkeys(keys.values()), key=lambda line: groups.index(line[0]))
    heights = {line: (index + 1) * STEP + groups.index(line[0]) * GAP for index, line in enumerate(lines)}
    ticks: dict[str, list[float]] = {}
    for (group, name), y in heights.items():
        ticks.setdefault(group or short(name, WIDEST), []).append(y)
    tall = max(heights.values()) + STEP
    sheet = Sheet(
        TITLE,
        f"{at_fit(card)}\nFilled: the rule, further right is better. Open: what no rule gives and can only be memorized; "
        "*: mean over fit 0.5 to 0.9.",
        tasks(rows), ("share of items answered exactly", ""),
        [optimizers(marks, optimizer_rows),
         ("share of", [("held-out rule items", dot(INK, markersize=4.5)),
                       ("trained items without a rule", dot(INK, "D", markersize=3.8, markerfacecolor="white"))])],
        height=max(1.7, tall), left=0.3 + 0.068 * max(map(len, ticks)),
    )  # fmt: skip
    for task, axes in sheet.axes.items():
        shown = [row for row in rows if row.task == task]
        rote = next((name for name in ROTE if any(row.values.get(name) for row in shown)), None)
        for row in shown:
            _line(axes, row, rote, heights[keys[id(row)]], marks.colour(row))
        if rote:
            axes.set_title(f"open: {ROTE[rote]}", loc="right", fontsize=8, fontweight="normal", color=GREY)
        axes.set_yticks(list(map(fmean, ticks.values())), list(ticks))
        axes.set_ylim(tall, 0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    sheet.shares("x")
    return sheet.figure


def _is_read(row: Row) -> bool:
    return any(row.values.get(name) for name in (RULE, *ROTE))


def _line(axes: Axes, row: Row, rote: str | None, y: float, colour: str) -> None:
    if memorized := mean(row.values.get(str(rote))):
        means(axes, [memorized], [y], colour, marker="D", markersize=3.8, markerfacecolor="white", markeredgewidth=0.9)
    if generalized := mean(row.values.get(RULE)):
        means(axes, [generalized], [y], colour)
    if not memorized and not generalized:
        axes.text(0, y, "not reached", color=GREY, fontsize=7, va="center")
