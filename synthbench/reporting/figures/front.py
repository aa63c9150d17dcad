"""Learning against forgetting at the end of finetuning, for every rate: what is forgotten for what is learned."""

from __future__ import annotations

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import INK, Sheet, dot, optimizers, updates

TITLE = "What is learned, and what is forgotten for it"
CAPTION = (
    "Learning against forgetting at the end of finetuning: every learning rate of every row, the chosen one filled, "
    "neighbouring rates joined; means over seeds."
)
NO_DATA = "no row has learning and forgetting at any rate"


def curve(row: Row) -> dict[float, tuple[float, float]]:
    """By rising rate: forgetting and learning, means over seeds."""
    means = {rate: (mean(scores.get("forgetting")), mean(scores.get("learning"))) for rate, scores in row.rates.items()}
    return {rate: (lost.mean, learned.mean) for rate, (lost, learned) in sorted(means.items()) if lost and learned}


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = [row for row in plain(of_one_size(rows)) if curve(row)]
    if not rows:
        return None
    marks = Marks(rows)
    sheet = Sheet(
        TITLE,
        "Every learning rate at the end of finetuning, mean over seeds; lines join the rates of one row.\n"
        "Better: further up (more learned) and further left (less forgotten).",
        tasks(rows), ("forgetting (lower is better)", "learning (higher is better)"),
        [optimizers(marks, rows), updates(marks),
         ("learning rate", [("chosen, by validation", dot(INK)),
                            ("not chosen", dot(INK, markerfacecolor="white", markersize=3.5))])],
        height=2.5,
    )  # fmt: skip
    for row in rows:
        axes, colour, marker = sheet.axes[row.task], marks.colour(row), marks.markers[row.update]
        axes.plot(*zip(*curve(row).values(), strict=True), color=colour, lw=0.7, alpha=0.45)
        for rate, point in curve(row).items():
            size, fill = (5.5, colour) if rate == row.lr else (3.5, "white")
            axes.plot(
                *point, linestyle="none", marker=marker, markeredgecolor=colour, markeredgewidth=0.8, markersize=size,
                markerfacecolor=fill, alpha=0.9,
            )  # fmt: skip
    sheet.shares("xy")
    return sheet.figure
