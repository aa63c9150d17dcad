"""Learning against the learning rate over the chosen one: what a badly chosen rate costs."""

from __future__ import annotations

from math import log2
from typing import Any

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


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    everything = of_one_size(rows)
    rows = [row for row in plain(everything) if len(curve(row)) > 1]
    if not rows:
        return None
    shown = two(Marks(rows).updates)
    rows = [row for row in rows if row.update in shown]
    marks, variants = Marks(rows), [(row, *curve(variant, row)[0]) for variant, row in fixed(everything, rows, card)]
    names = {marks.name(variant): marks.colour(row) for variant, row in fixed(everything, rows, card)}
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
    for row, rate, learning in variants:
        means(sheet.axes[row.task], [rate], [learning.mean], marks.colour(row), "o", **OPEN)
    reached = [at for row in rows for at, _ in curve(row)] + [at for _, at, _ in variants]
    ticks = range(round(min(reached)), round(max(reached)) + 1)
    every = 1 if len(ticks) <= MOST_TICKS else 2  # else their labels touch
    for axes in sheet.axes.values():
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xticks(list(ticks), [_times(tick) if tick % every == 0 else "" for tick in ticks])
        axes.set_xlim(min(reached) - 0.25, max(reached) + 0.25)
    sheet.shares("y")
    return sheet.figure


def curve(row: Row, over: Row | None = None) -> list[tuple[float, Interval]]:
    """By rising rate: log2 of the rate over the chosen one (of another row, if one is given), and learning."""
    chosen = (over or row).lr
    if not chosen:
        return []
    found = [(log2(rate / chosen), mean(scores.get("learning"))) for rate, scores in sorted(row.rates.items())]
    return [(at, learning) for at, learning in found if learning]


def fixed(everything: list[Row], rows: list[Row], card: RunnerCard) -> list[tuple[Row, Row]]:
    """The variants that are an optimizer at one rate, torch's default for example, each with the optimizer's own row."""
    by_setting = {(row.task, *row.base, row.optimizer, row.update, row.weight_decay): row for row in rows}
    found = []
    for variant in everything:
        known = card.variants.get(variant.optimizer)
        setting = (variant.task, *variant.base, str(variant.variant_of), variant.update, variant.weight_decay)
        row = by_setting.get(setting)
        if (
            known
            and not (known.arguments or known.salt)
            and row
            and len(curve(variant, row)) == len(variant.rates) == 1
        ):
            found.append((variant, row))
    return found


def two(updates: list[str]) -> list[str]:
    """The first update, usually full, and one low-rank one: more curves could not be told apart."""
    low = [update for update in updates if update.startswith("lora-")]
    return list(dict.fromkeys([updates[0], LOW_RANK if LOW_RANK in low else (low or updates)[0]]))


def _times(power: int) -> str:
    """A power of two as a factor: `4×`, `1/16×`."""
    return f"{2**power}×" if power >= 0 else f"1/{2**-power}×"
