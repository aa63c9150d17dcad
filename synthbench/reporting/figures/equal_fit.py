"""What is forgotten and what is learned at equal fit: a point a row, with intervals."""

from __future__ import annotations

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import SPREAD, Sheet, at_fit, means, optimizers, updates

TITLE = "What is learned, and what is forgotten for it, at equal fit"
CAPTION = f"Learning against forgotten facts at equal fit; means with {SPREAD}."
NO_DATA = "no row has learning and forgetting at equal fit"
FORGOTTEN, LEARNED = "fact_forgetting@fit", "learning@fit"


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = [row for row in plain(of_one_size(rows)) if row.values.get(FORGOTTEN) and row.values.get(LEARNED)]
    if not rows:
        return None
    marks = Marks(rows)
    sheet = Sheet(
        TITLE,
        f"{at_fit(card)}\nBetter: further up (more learned beside what is fitted) and further left (less forgotten).",
        tasks(rows), ("forgotten pretraining facts (lower is better)", "learning (higher is better)"),
        [optimizers(marks, rows), updates(marks)], height=2.5,
    )  # fmt: skip
    for row in rows:
        forgotten, learned = mean(row.values[FORGOTTEN]), mean(row.values[LEARNED])
        if forgotten and learned:
            means(sheet.axes[row.task], [forgotten], [learned], marks.colour(row), marker=marks.markers[row.update])
    sheet.shares("xy")
    return sheet.figure
