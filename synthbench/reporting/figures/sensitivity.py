"""Learning against the learning rate over the chosen one: what a badly chosen rate costs."""

from __future__ import annotations

from math import log2
from typing import Any

from matplotlib.figure import Figure

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.common.wording import short
from synthbench.reporting.figures.marks import WIDEST, Marks, mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, SPREAD, Sheet, dot, means, optimizers, updates

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
    marks, variants = Marks(rows), fixed(everything, rows, card)
    names = {marks.name(variant): marks.colour(row) for variant, row in variants}
    sheet = Sheet(
        TITLE,
        f"Learning at the end of finetuning, at every rate of the grid; means with {SPREAD}.\nFlat curves forgive a wrong "
        "rate; one that still rises where it ends, at 1×, has its best rate at the edge of its grid.",
        tasks(rows), ("learning rate over the chosen one", "learning (higher is better)"),
        [optimizers(marks, rows), updates(marks, lines=True),
         ("at one rate", [(short(name, WIDEST), dot(colour, **OPEN)) for name, colour in names.items()])],
    )  # fmt: skip
    powers: list[float] = []
    for row in rows:
        at, learned = [at for at, _ in curve(row)], [learning for _, learning in curve(row)]
        looks = {"marker": marks.markers[row.update], "linestyle": marks.style(row.update), "alpha": 0.9}
        means(sheet.axes[row.task], at, learned, marks.colour(row), **looks)
        powers += at
    for variant, row in variants:
        ((power, learning),) = curve(variant, row)
        means(sheet.axes[row.task], [power], [learning.mean], marks.colour(row), **OPEN)
        powers.append(power)
    ticks = range(round(min(powers)), round(max(powers)) + 1)
    every = 1 if len(ticks) <= MOST_TICKS else 2  # else their labels touch
    for axes in sheet.axes.values():
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xticks(list(ticks), [_times(tick) if tick % every == 0 else "" for tick in ticks])
        axes.set_xlim(min(powers) - 0.25, max(powers) + 0.25)
    sheet.shares("y")
    return sheet.figure


def curve(row: Row, over: Row | None = None) -> list[tuple[float, Interval]]:
    """By rising rate: log2 of the rate over the chosen one (of another row, if one is given), and learning."""
    chosen = (over or row).lr
    if not chosen:
        return []
    means = [(log2(rate / chosen), mean(scores.get("learning"))) for rate, scores in sorted(row.rates.items())]
    return [(at, learning) for at, learning in means if learning]


def fixed(everything: list[Row], rows: list[Row], card: RunnerCard) -> list[tuple[Row, Row]]:
    """The variants that are an optimizer at one rate, torch's default for example, each with the optimizer's own row."""
    by_setting = {(row.task, *row.base, row.optimizer, row.update, *row.axes.items()): row for row in rows}
    pairs = []
    for name, variant in card.variants.items():
        for row in everything:
            tuned = by_setting.get((row.task, *row.base, str(row.variant_of), row.update, *row.axes.items()))
            is_plain = row.optimizer == name and not variant.arguments and not variant.salt
            if tuned and is_plain and len(curve(row, tuned)) == len(row.rates) == 1:
                pairs.append((row, tuned))
    return pairs


def two(updates: list[str]) -> list[str]:
    """The first update, usually full, and one low-rank one: more curves could not be told apart."""
    low = [update for update in updates if update.startswith("lora-")]
    return list(dict.fromkeys([updates[0], LOW_RANK if LOW_RANK in low else (low or updates)[0]]))


def _times(power: int) -> str:
    """A power of two as a factor: `4×`, `1/16×`."""
    return f"{2**power}×" if power >= 0 else f"1/{2**-power}×"
