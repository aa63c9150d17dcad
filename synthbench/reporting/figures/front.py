"""Learning against forgetting at the end of finetuning, for every rate: what is forgotten for what is learned."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import INK, Panels, Sheet, dot, optimizers, updates

TITLE = "What is learned, and what is forgotten for it"
CAPTION = (
    "Learning against forgetting at the end of finetuning: every learning rate of every row, the chosen one filled, "
    "neighbouring rates joined; means over seeds."
)
NO_DATA = "no row has learning and forgetting at any rate"


class Spot(NamedTuple):
    forgetting: float
    learning: float
    is_chosen: bool


def spots(row: Row) -> list[Spot]:
    """Means over seeds, by rate."""
    found = []
    for rate, scores in sorted(row.rates.items()):
        lost, learned = mean(scores.get("forgetting")), mean(scores.get("learning"))
        if lost and learned:
            found.append(Spot(lost.mean, learned.mean, rate == row.lr))
    return found


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = [row for row in plain(of_one_size(rows)) if spots(row)]
    if not rows:
        return None
    marks = Marks(rows)
    sheet = Sheet(
        TITLE,
        "Every learning rate at the end of finetuning, mean over seeds; lines join the rates of one row.\n"
        "Better: further up (more learned) and further left (less forgotten).",
        Panels(tasks(rows), "forgetting (lower is better)", "learning (higher is better)", height=2.5),
        [optimizers(marks, rows), updates(marks),
         ("learning rate", [("chosen, by validation", dot(INK)),
                            ("not chosen", dot(INK, markerfacecolor="white", markersize=3.5))])],
    )  # fmt: skip
    for row in rows:
        axes, colour, marker, found = sheet.axes[row.task], marks.colour(row), marks.marker(row.update), spots(row)
        axes.plot([s.forgetting for s in found], [s.learning for s in found], color=colour, lw=0.7, alpha=0.45)
        for forgetting, learning, is_chosen in found:
            axes.plot(
                forgetting, learning, linestyle="none", marker=marker, markeredgecolor=colour, markeredgewidth=0.8,
                markersize=5.5 if is_chosen else 3.5, markerfacecolor=colour if is_chosen else "white", alpha=0.9,
            )  # fmt: skip
    sheet.shares("xy")
    return sheet.figure
