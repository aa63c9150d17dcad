"""What rows have memorized and generalized at equal fit: a line a row, to compare neighbours along one axis."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, brief, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, INK, SPREAD, Panels, Sheet, at_fit, dot, means, optimizers

TITLE = "Memorized or generalized, at equal fit"
CAPTION = (
    "Memorization and generalization at equal fit: held-out rule items (filled), and trained items that follow no rule "
    f"(open); means with {SPREAD}."
)
NO_DATA = "no row was read at equal fit"
RULE = "rule_accuracy@fit"
ROTE = {  # the first that a task's rows have; at one fit the first three are nearly fixed by it
    "exception_recall_over_fit": "exceptions*",
    "noise_recall_over_fit": "wrong labels*",
    "tail_recall_over_fit": "rare facts*",
    "fact_recall@fit": "new facts",
}
STEP, GAP = 0.14, 0.1  # inches of a line, and between groups of them

Key = tuple[str, str]  # of a line: the update, empty for a variant, and the optimizer


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = of_one_size(rows)
    optimizer_rows, marks = plain(rows), Marks(rows)
    rows = [row for row in rows if row in optimizer_rows or _is_read(row)]  # variants of one rate cannot be read
    if not any(map(_is_read, rows)):
        return None
    keys = {id(row): (row.movable if row in optimizer_rows else "", marks.name(row)) for row in rows}
    places = heights([*keys.values()], [*(marks.labels[update] for update in marks.updates), ""])
    tall = max(places.values()) + STEP
    labels: dict[str, list[float]] = {}
    for (update, name), place in places.items():
        labels.setdefault(update or brief(name), []).append(place)
    left = 0.3 + 0.068 * max(map(len, labels))
    sheet = Sheet(
        TITLE,
        f"{at_fit(card)}\nFilled: the rule, further right is better. Open: what no rule gives and can only be memorized; "
        "*: mean over fit 0.5 to 0.9.",
        Panels(tasks(rows), "share of items answered exactly", "", height=max(1.7, tall), left=left),
        [optimizers(marks, optimizer_rows),
         ("share of", [("held-out rule items", dot(INK, markersize=4.5)),
                       ("trained items without a rule", dot(INK, "D", markersize=3.8, markerfacecolor="white"))])],
    )  # fmt: skip
    for task, axes in sheet.axes.items():
        shown = [row for row in rows if row.task == task]
        rote = next((name for name in ROTE if any(row.values.get(name) for row in shown)), None)
        for row in shown:
            _line(axes, row, rote, places[keys[id(row)]], marks.colour(row))
        if rote:
            axes.set_title(f"open: {ROTE[rote]}", loc="right", fontsize=8, fontweight="normal", color=GREY)
        axes.set_yticks([sum(found) / len(found) for found in labels.values()], list(labels))
        axes.set_ylim(tall, 0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    sheet.shares("x")
    return sheet.figure


def heights(keys: Sequence[Key], updates: Sequence[str]) -> dict[Key, float]:
    """How far below the top, in inches, each line is drawn: the optimizers of one update after the other."""
    found, place = dict[Key, float](), 0.0
    for update in updates:
        group = [key for key in dict.fromkeys(keys) if key[0] == update]
        for key in group:
            place += STEP
            found[key] = place
        place += GAP if group else 0
    return found


def _is_read(row: Row) -> bool:
    return any(row.values.get(name) for name in (RULE, *ROTE))


def _line(axes: Axes, row: Row, rote: str | None, y: float, colour: str) -> None:
    if memorized := mean(row.values.get(str(rote))):
        means(axes, [memorized], [y], colour, "D", markersize=3.8, markerfacecolor="white", markeredgewidth=0.9)
    if generalized := mean(row.values.get(RULE)):
        means(axes, [generalized], [y], colour, "o")
    if not memorized and not generalized:
        axes.text(0, y, "not reached", color=GREY, fontsize=7, va="center")
