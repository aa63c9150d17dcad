"""The picture of the calibration: where the rows of each task lie in the regime that lets optimizers differ."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.calibration import BAND, KEPT
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.wording import short
from synthbench.reporting.figures.marks import WIDEST, Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, SPREAD, Sheet, at_fit, dot, means, optimizers, updates

TITLE = "Do the tasks let optimizers differ?"
CAPTION = (
    "Retention of the old against generalization to the new at equal fit; in the shaded regime optimizers can differ; "
    f"means with {SPREAD}."
)
NO_DATA = "the runner's columns are without retention@fit, or no row was read at equal fit"
OLD, RULE = "retention@fit", "rule_accuracy@fit"
NEW = {
    RULE: "held-out rule accuracy",
    "tail_recall@fits": "recall of rare facts, on the way",
}  # the first that a task's rows have
SHADE, EDGE = "#EDEDED", "#BDBDBD"


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = plain(of_one_size(rows))
    new = {task: new_of([row for row in rows if row.task == task]) for task in tasks(rows)}
    rows = [row for row in rows if new[row.task]]
    if OLD not in card.columns or not any(row.values.get(OLD) for row in rows):
        return None
    marks = Marks(rows)
    sheet = Sheet(
        TITLE,
        f"{at_fit(card)}\nShaded: neither all nor nothing of the old is kept, and neither all nor nothing of the rule is "
        "found (where a task has one).",
        tasks(rows), ("", "retention (share of the old kept)"),
        [optimizers(marks, rows), updates(marks),
         ("regime", [("optimizers can differ", dot(SHADE, "s", markersize=9, markeredgecolor=EDGE))])],
    )  # fmt: skip
    for task, axes in sheet.axes.items():
        name = str(new[task])
        axes.set_xlabel(NEW[name])
        left, right = BAND if name == RULE else (-1.0, 2.0)
        box = Rectangle((left, KEPT[0]), right - left, KEPT[1] - KEPT[0], facecolor=SHADE, edgecolor=EDGE, zorder=0.5)
        axes.add_patch(box)
        missing = []
        for row in (row for row in rows if row.task == task):
            retained, learned = mean(row.values.get(OLD)), mean(row.values.get(name))
            if retained and learned:
                means(axes, [learned], [retained], marks.colour(row), marker=marks.markers[row.update], markersize=5)
            else:
                missing.append(f"{short(marks.name(row), WIDEST)} {row.movable}")
        if missing:
            axes.text(1, 0.9, "\n".join(["not reached:", *missing]), color=GREY, fontsize=7, va="top", ha="right")
    sheet.shares("xy")
    return sheet.figure


def new_of(rows: list[Row]) -> str | None:
    """The score of what is new in a task: of its rule, or where it has none of its rare facts."""
    return next((name for name in NEW if any(row.values.get(name) for row in rows)), None)
