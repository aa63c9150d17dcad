"""Learning against the learning rate over the chosen one: what a badly chosen rate costs."""

from __future__ import annotations

from math import log2
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.reporting.figures.marks import Marks, brief, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, SPREAD, Panels, Sheet, dot, means, optimizers, updates

TITLE = "What a badly chosen learning rate costs"
CAPTION = f"Learning at the end of finetuning against the learning rate over the row's chosen one; means with {SPREAD}."
MOST_TICKS = 6  # with labels, on an axis
NO_DATA = "no row has more than one learning rate"
LOW_RANK = "lora-16"  # shown beside full updates; where there is none, the largest rank
OPEN: dict[str, Any] = {"markersize": 7.0, "markerfacecolor": "none"}


class Fixed(NamedTuple):
    """A variant that is an optimizer at one rate, torch's default for example, and the optimizer's own row."""

    variant: Row
    row: Row
    at: float  # log2 of the rate over the row's chosen one
    learning: Interval


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    everything = of_one_size(rows)
    rows = [row for row in plain(everything) if len(curve(row)) > 1]
    if not rows:
        return None
    shown = two(Marks(rows).updates)
    rows = [row for row in rows if row.update in shown]
    marks, variants = Marks(rows), [point for point in fixed(everything, card) if point.row in rows]
    names = {marks.name(point.variant): marks.colour(point.row) for point in variants}
    sheet = Sheet(
        TITLE,
        f"Learning at the end of finetuning, at every rate of the grid; means with {SPREAD}.\nFlat curves forgive a wrong "
        "rate; one that still rises where it ends, at 1×, has its best rate at the edge of its grid.",
        Panels(tasks(rows), "learning rate over the chosen one", "learning (higher is better)"),
        [optimizers(marks, rows), updates(marks, lines=True),
         ("at one rate", [(brief(name), dot(colour, **OPEN)) for name, colour in names.items()])],
    )  # fmt: skip
    for row in rows:
        at, learned = zip(*curve(row), strict=True)
        looks = {"linestyle": marks.style(row.update), "alpha": 0.9}
        means(sheet.axes[row.task], at, learned, marks.colour(row), marks.marker(row.update), **looks)
    for point in variants:
        axes, colour = sheet.axes[point.row.task], marks.colour(point.row)
        means(axes, [point.at], [point.learning.mean], colour, "o", **OPEN)
    reached = [at for row in rows for at, _ in curve(row)] + [point.at for point in variants]
    ticks = range(round(min(reached)), round(max(reached)) + 1)
    every = 1 if len(ticks) <= MOST_TICKS else 2  # else their labels touch
    for axes in sheet.axes.values():
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xticks(list(ticks), [_times(tick) if tick % every == 0 else "" for tick in ticks])
        axes.set_xlim(min(reached) - 0.25, max(reached) + 0.25)
    sheet.shares("y")
    return sheet.figure


def curve(row: Row) -> list[tuple[float, Interval]]:
    """By rising rate: log2 of the rate over the chosen one, and learning."""
    if not row.lr:
        return []
    found = [(log2(rate / row.lr), mean(scores.get("learning"))) for rate, scores in sorted(row.rates.items())]
    return [(at, learning) for at, learning in found if learning]


def fixed(rows: list[Row], card: RunnerCard) -> list[Fixed]:
    """The variants that differ from their optimizers in nothing but a single rate."""
    by_setting = {(row.task, *row.base, row.optimizer, row.update, row.weight_decay): row for row in rows}
    found = []
    for variant in rows:
        known, learning = card.variants.get(variant.optimizer), mean(variant.values.get("learning"))
        setting = (variant.task, *variant.base, str(variant.variant_of), variant.update, variant.weight_decay)
        row = by_setting.get(setting)
        is_fixed = known and not (known.arguments or known.salt) and len(variant.rates) == 1
        if is_fixed and learning and row and row.lr and variant.lr:
            found.append(Fixed(variant, row, log2(variant.lr / row.lr), learning))
    return found


def two(updates: list[str]) -> list[str]:
    """The first update, usually full, and one low-rank one: more curves could not be told apart."""
    low = [update for update in updates if update.startswith("lora-")]
    return list(dict.fromkeys([updates[0], LOW_RANK if LOW_RANK in low else (low or updates)[0]]))


def _times(power: int) -> str:
    """A power of two as a factor: `4×`, `1/16×`."""
    return f"{2**power}×" if power >= 0 else f"1/{2**-power}×"
