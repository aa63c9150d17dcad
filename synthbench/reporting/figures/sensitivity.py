"""Learning against the learning rate over the chosen one: what a badly chosen rate costs."""

from __future__ import annotations

from math import log2
from typing import NamedTuple

from matplotlib.figure import Figure

from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, bar, mean, of_size_1, plain, tasks
from synthbench.reporting.figures.sheet import GREY, Sheet, dot, optimizers, share, style, updates
from synthbench.reporting.rows import Row
from synthbench.scores.statistics import Interval

TITLE = "What a badly chosen learning rate costs"
CAPTION = (
    "Learning at the end of finetuning against the learning rate over the row's chosen one; means with 95 % intervals over "
    "seeds."
)
NO_DATA = "no row has more than one learning rate"
LOW_RANK = "lora-16"  # shown beside full updates; where there is none, the largest rank


def curve(row: Row) -> list[tuple[float, Interval]]:
    """By rising rate: the binary logarithm of the rate over the chosen one, and learning."""
    if not row.lr:
        return []
    found = [(log2(rate / row.lr), mean(scores.get("learning"))) for rate, scores in sorted(row.rates.items())]
    return [(at, learning) for at, learning in found if learning]


class Fixed(NamedTuple):
    """An arm that is an optimizer at one rate, torch's default for example, beside the optimizer's own row. at: as in
    `curve`, over the own row's chosen rate."""

    arm: Row
    row: Row
    at: float
    learning: Interval


def fixed(rows: list[Row], card: RunnerCard) -> list[Fixed]:
    found = []
    for arm in rows:
        known = card.arms.get(arm.optimizer)
        learning = mean(arm.values.get("learning"))
        if known is None or known.arguments or len(arm.rates) != 1 or not (arm.lr and learning):
            continue
        same = (arm.task, arm.base, arm.arm_of, arm.update, arm.weight_decay)
        for row in rows:
            if row.lr and (row.task, row.base, row.optimizer, row.update, row.weight_decay) == same:
                found.append(Fixed(arm, row, log2(arm.lr / row.lr), learning))
    return found


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    everything = of_size_1(rows)
    rows = [row for row in plain(everything) if len(curve(row)) > 1]
    if not rows:
        return None
    updates = shown(Marks(rows).updates)
    rows = [row for row in rows if row.update in updates]
    marks, arms = Marks(rows), [one for one in fixed(everything, card) if one.row in rows]
    names = {marks.name(one.arm): marks.colour(one.row) for one in arms}
    sheet = Sheet(
        TITLE,
        "Learning at the end of finetuning, at every rate of the grid; means with 95 % intervals over seeds. Flat curves "
        "forgive a wrong rate;\na curve that still rises where it ends, at 1×, has its best rate at the edge of its grid.",
        tasks(rows), "learning rate over the chosen one", "learning (higher is better)",
        [optimizers(marks, rows), updates(marks, lines=True),
         ("fixed rate", [(name, dot(colour, markersize=7, markerfacecolor="none")) for name, colour in names.items()])],
    )  # fmt: skip
    for row in rows:
        found = curve(row)
        bars = [bar(learning) for _, learning in found]
        sheet.axes[row.task].errorbar(
            [at for at, _ in found], [learning.mean for _, learning in found],
            yerr=[[down for down, _ in bars], [up for _, up in bars]], color=marks.colour(row), elinewidth=0.8,
            marker=marks.marker(row.update), markersize=4.5, linestyle=style(row.update), alpha=0.9,
        )  # fmt: skip
    for one in arms:
        sheet.axes[one.row.task].plot(
            one.at, one.learning.mean, linestyle="none", marker="o", markersize=7, markerfacecolor="none",
            markeredgecolor=marks.colour(one.row), markeredgewidth=1.2,
        )  # fmt: skip
    reached = [at for row in rows for at, _ in curve(row)] + [one.at for one in arms]
    ticks = range(round(min(reached)), round(max(reached)) + 1)
    for axes in sheet.axes.values():
        share(axes, x=False)
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xticks(list(ticks), [f"{2.0**tick:g}×" for tick in ticks])
        axes.set_xlim(min(reached) - 0.25, max(reached) + 0.25)
    return sheet.figure


def shown(updates: list[str]) -> list[str]:
    """The first update, full as a rule, and one low-rank one."""
    low = [update for update in updates if update.startswith("lora-")]
    return list(dict.fromkeys([updates[0], LOW_RANK if LOW_RANK in low else (low or updates)[0]]))
