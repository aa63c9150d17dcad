"""What rows have memorized and generalized at equal fit: a line a row, so that neighbours are compared along one axis."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, bar, mean, of_size_1, plain, tasks
from synthbench.reporting.figures.sheet import GREY, INK, Sheet, dot, optimizers, share
from synthbench.reporting.rows import Row

TITLE = "Memorized or generalized, at equal fit"
CAPTION = (
    "Memorization and generalization where fit first reaches the card's: held-out rule items (filled) and trained items "
    "that follow no rule (open); means with 95 % intervals over seeds."
)
NO_DATA = "no row was read at equal fit"
FOUND = "rule_accuracy@fit"
ROTE = {  # the first that a task's rows have
    "exception_recall@fit": "exceptions",
    "noise_recall@fit": "wrong labels",
    "tail_recall@fit": "rare facts",
    "fact_recall@fit": "new facts",
}


STEP, GAP = 0.14, 0.1  # inches of a line, and between groups of them

Key = tuple[str, str]  # of a line: the update (of an arm: its name) and the optimizer


def rote_of(rows: Sequence[Row]) -> str | None:
    """The score of what a task's rows can only have memorized."""
    return next((name for name in ROTE if any(row.values.get(name) for row in rows)), None)


def key(row: Row, own: Sequence[Row], marks: Marks) -> Key:
    return (row.update, marks.name(row)) if row in own else (marks.name(row), "")


def heights(keys: Sequence[Key], updates: Sequence[str]) -> dict[Key, float]:
    """How far below the top, in inches, each line is drawn: the optimizers of each update, then the arms."""
    found, place = dict[Key, float](), 0.0
    for update in [*updates, ""]:
        group = [one for one in dict.fromkeys(keys) if (one[0] == update if update else not one[1])]
        for one in group:
            place += STEP
            found[one] = place
        place += GAP if group else 0
    return found


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    rows = of_size_1(rows)
    own, marks = plain(rows), Marks(rows)
    rows = [row for row in rows if row in own or any(row.values.get(name) for name in (FOUND, *ROTE))]
    if not any(row.values.get(name) for row in rows for name in (FOUND, *ROTE)):
        return None
    places = heights([key(row, own, marks) for row in rows], marks.updates)
    names = {update: [place for (name, _), place in places.items() if name == update] for update, _ in places}
    sheet = Sheet(
        TITLE,
        f"Where fit first reaches {card.reading.fit:g}, at the rate that takes {card.reading.speed} steps to it; means with "
        "95 % intervals over seeds.\nFilled, further right: more of the rule was found. Open: what no rule gives, which "
        "can only be memorized.",
        tasks(rows), "share of items answered exactly", "",
        [optimizers(marks, own),
         ("share of", [("held-out rule items", dot(INK, markersize=4.5)),
                       ("trained items without a rule", dot(INK, "D", markersize=3.8, markerfacecolor="white"))])],
        height=max(1.7, max(places.values()) + STEP), left=0.3 + 0.068 * max(map(len, names)),
    )  # fmt: skip
    for task, axes in sheet.axes.items():
        shown = [row for row in rows if row.task == task]
        rote = rote_of(shown)
        for row in shown:
            y, is_read = places[key(row, own, marks)], False
            for score, face in ((rote, "white"), (FOUND, marks.colour(row))):
                if found := mean(row.values.get(str(score))):
                    is_read = True
                    axes.errorbar(
                        found.mean, y, xerr=[[side] for side in bar(found)], fmt="o" if score == FOUND else "D",
                        color=marks.colour(row), markersize=4.5 if score == FOUND else 3.8, markerfacecolor=face,
                        elinewidth=0.9, markeredgewidth=0.9,
                    )  # fmt: skip
            if not is_read:
                axes.text(0, y, "not reached", color=GREY, fontsize=7, va="center")
        if rote:
            axes.set_title(f"open: {ROTE[rote]}", loc="right", fontsize=8, fontweight="normal", color=GREY)
        share(axes, y=False)
        axes.set_yticks([sum(found) / len(found) for found in names.values()], list(names))
        axes.set_ylim(max(places.values()) + STEP, 0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return sheet.figure
