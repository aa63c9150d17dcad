"""Where the rows of each task lie in the regime that lets optimizers differ: half kept, half found."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from synthbench.cards import RunnerCard
from synthbench.reporting.calibration import BAND, KEPT
from synthbench.reporting.figures.marks import Marks, bar, mean, of_size_1, plain, tasks
from synthbench.reporting.figures.sheet import GREY, Sheet, dot, optimizers, share, updates
from synthbench.reporting.rows import Row

TITLE = "Do the tasks let optimizers differ?"
CAPTION = (
    "Retention of the old against generalization to the new at equal fit; the shaded regime is where optimizers can "
    "differ in both; means with 95 % intervals over seeds."
)
NO_DATA = "the runner does not ask for retention@fit, or no row was read at equal fit"
KEPT_SCORE = "retention@fit"
NEW = {"rule_accuracy@fit": "held-out rule accuracy", "tail_recall@fit": "recall of rare facts"}
SHADE, EDGE = "#EDEDED", "#BDBDBD"


def new_of(rows: list[Row]) -> str | None:
    """The score of what is new in a task: of its rule, or where it has none of its rare facts."""
    return next((name for name in NEW if any(row.values.get(name) for row in rows)), None)


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = plain(of_size_1(rows))
    new = {task: new_of([row for row in rows if row.task == task]) for task in tasks(rows)}
    rows = [row for row in rows if new[row.task]]
    if KEPT_SCORE not in card.columns or not any(row.values.get(KEPT_SCORE) for row in rows):
        return None
    marks = Marks(rows)
    sheet = Sheet(
        TITLE,
        f"Where fit first reaches {card.reading.fit:g}, at the rate that takes {card.reading.speed} steps to it; means with "
        "95 % intervals over seeds.\nShaded: where neither all nor nothing is kept, and neither all nor nothing of the "
        "rule is found (where a task has one).",
        tasks(rows), "", "retention (share of the old kept)",
        [optimizers(marks, rows), updates(marks), ("regime", [("optimizers can differ", dot(
            SHADE, "s", markersize=9, markeredgecolor=EDGE))])],
    )  # fmt: skip
    for task, axes in sheet.axes.items():
        name = str(new[task])
        left, right = BAND if name == "rule_accuracy@fit" else (-1.0, 2.0)
        axes.add_patch(Rectangle((left, KEPT[0]), right - left, KEPT[1] - KEPT[0], facecolor=SHADE, edgecolor=EDGE, zorder=0.5))
        axes.set_xlabel(NEW[name])
        missing = []
        for row in (row for row in rows if row.task == task):
            kept, found = mean(row.values.get(KEPT_SCORE)), mean(row.values.get(name))
            if not kept or not found:
                missing.append(f"{marks.name(row)} {row.update}")
                continue
            axes.errorbar(
                found.mean, kept.mean, xerr=[[side] for side in bar(found)], yerr=[[side] for side in bar(kept)],
                color=marks.colour(row), marker=marks.marker(row.update), markersize=5, elinewidth=0.8,
            )  # fmt: skip
        share(axes)
        if missing:
            axes.text(0.98, 0.98, "not reached:\n" + "\n".join(missing), color=GREY, fontsize=7, va="top", ha="right",
                      transform=axes.transAxes)  # fmt: skip
    return sheet.figure
