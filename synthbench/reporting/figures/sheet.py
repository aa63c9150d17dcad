"""How figures look: panels side by side, one a task, and the legend behind the last of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.common.wording import inert, short
from synthbench.reporting.figures.marks import Marks

WIDTH = 9.0  # inches, at 96 pixels each: a page of GitHub
LEFT, RIGHT, TOP, BOTTOM = 0.62, 0.12, 1.0, 0.5  # inches around the panels
BESIDE, BELOW = 0.28, 0.75  # inches between them
SPARE = 0.3  # inches that a legend may be taller than a panel
LINE = 0.19  # inches, of a legend
SPREAD = "95 % intervals over seeds"
GREY = "#555555"
INK = "#222222"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "synthbench", "text.parse_math": False, "figure.facecolor": "white",
    "savefig.facecolor": "white", "font.size": 9, "axes.titlesize": 9.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 5, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.fontsize": 8.5, "legend.title_fontsize": 8.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#999999", "axes.labelcolor": INK, "text.color": INK, "xtick.color": GREY, "ytick.color": GREY,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.7,
    "axes.axisbelow": True, "lines.linewidth": 1.2, "errorbar.capsize": 0, "legend.frameon": False, "legend.borderpad": 0,
    "legend.borderaxespad": 0, "legend.labelspacing": 0.35, "legend.handlelength": 1.8,
}  # fmt: skip

Group = tuple[str, Sequence[tuple[str, Line2D]]]  # of a legend: its title, then labels and their marks


@contextmanager
def styled() -> Iterator[None]:
    """Within it figures look the same whatever a person's settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # in a plug-in's name; only its size is measured
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


class Sheet:
    """A figure of equal panels, by name, and the legend.

    reading: two lines below the title that say how to read it. labels: of the x and the y axes. height, left: inches, the
    least height of a panel, and what stands beside the first column.
    """

    def __init__(
        self, title: str, reading: str, names: Sequence[str], labels: tuple[str, str], legend: Sequence[Group],
        height: float = 2.1, left: float = LEFT,
    ) -> None:  # fmt: skip
        legend = [group for group in legend if group[1]]
        columns = 2 if len(names) in (1, 3) else 3
        rows = ceil((len(names) + 1) / columns)
        of_legend = max(LINE, sum(map(_tall, legend)) - SPARE)
        is_own_row = len(names) % columns == 0  # panels fill all rows but the last, which has the legend alone
        heights = [height] * (rows - 1) + [of_legend] if is_own_row else [max(height, of_legend)] * rows
        tall = TOP + sum(heights) + (rows - 1) * BELOW + BOTTOM
        wide = (WIDTH - left - RIGHT - (columns - 1) * BESIDE) / columns
        self.figure = Figure(figsize=(WIDTH, tall))
        self.figure.text(0.12 / WIDTH, 1 - 0.12 / tall, title, fontsize=12, fontweight="bold", va="top")
        self.figure.text(0.12 / WIDTH, 1 - 0.37 / tall, reading, color=GREY, va="top", linespacing=1.3)
        cells = self.figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat
        self.figure.subplots_adjust(
            left=left / WIDTH, right=1 - RIGHT / WIDTH, top=1 - TOP / tall, bottom=BOTTOM / tall,
            wspace=BESIDE / wide, hspace=BELOW * rows / sum(heights),
        )  # fmt: skip
        self.axes: dict[str, Axes] = dict(zip(names, cells, strict=False))
        for index, (name, axes) in enumerate(self.axes.items()):
            is_first, is_lowest = index % columns == 0, index + columns >= len(names)
            axes.set(xlabel=labels[0] if is_lowest else "", ylabel=labels[1] if is_first else "")
            axes.set_title(short(inert(name), 32))
            axes.tick_params(length=2.5, labelleft=is_first)
        corner = cells[len(names)].get_position()
        top = corner.y1 + SPARE / 2 / tall
        for group in legend:
            self._legend(group, corner.x0, top)
            top -= _tall(group) / tall
        for spare in cells[len(names) :]:
            spare.remove()

    def shares(self, which: str) -> None:
        """Makes the axes `x`, `y` or `xy` of all panels go from 0 to 1, with a little room beside."""
        for axes in self.axes.values():
            for name in which:
                getattr(axes, f"set_{name}ticks")([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
                getattr(axes, f"set_{name}lim")(-0.04, 1.04)

    def _legend(self, group: Group, x: float, y: float) -> None:
        title, entries = group
        legend = self.figure.legend(
            [handle for _, handle in entries], ["" for _ in entries], title=title, loc="upper left",
            bbox_to_anchor=(x, y), alignment="left", title_fontproperties={"weight": "bold"},
        )  # fmt: skip
        for text, (label, _) in zip(legend.get_texts(), entries, strict=True):
            text.set_text(label)  # matplotlib leaves out labels that begin with `_`


def _tall(group: Group) -> float:
    """Inches of a group of a legend, with its title and the gap below it."""
    return LINE * (len(group[1]) + 1.6)


def svg(figure: Figure) -> bytes:
    """A figure as text that is the same whenever and wherever it is written."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "synthbench"})
    return file.getvalue()


def means(axes: Axes, x: Sequence[Interval | float], y: Sequence[Interval | float], colour: str, **more: Any) -> None:
    """Points where means are, with bars as long as their intervals; joined where `linestyle` says how."""
    looks: dict[str, Any] = {"markersize": 4.5, "linestyle": "none", "color": colour, "marker": "o"} | more
    left, up = ([value.mean if isinstance(value, Interval) else value for value in values] for values in (x, y))
    axes.errorbar(left, up, xerr=_bars(x), yerr=_bars(y), elinewidth=0.9, ecolor=(colour, 0.55), **looks)


def _bars(values: Sequence[Interval | float]) -> list[tuple[float, ...]] | None:
    """The way down and up from every mean to its bounds; NaN, and no bar, where there is one seed alone."""
    bars = [(value.mean - value.low, value.high - value.mean) for value in values if isinstance(value, Interval)]
    return list(zip(*bars, strict=True)) or None


def at_fit(card: RunnerCard) -> str:
    """The first line of a figure of scores `x@fit`."""
    score = "training accuracy" if card.reading.fit_of == "fit" else card.reading.fit_of
    return f"Interpolated to {score} {card.reading.fit:g} at step {card.reading.target_step}; means with {SPREAD}."


def dot(colour: str, marker: str = "o", **more: Any) -> Line2D:
    """A marker in a legend."""
    looks: dict[str, Any] = {"linestyle": "none", "markersize": 5.5, "color": colour, "marker": marker}
    return Line2D([], [], **looks | more)


def optimizers(marks: Marks, rows: Sequence[Row]) -> Group:
    return "optimizer", [(name, dot(colour, "", linestyle="-", linewidth=2)) for name, colour in marks.colours(rows)]


def updates(marks: Marks, *, lines: bool = False) -> Group:
    """lines: whether updates differ in how lines are drawn, too."""
    return "update", [
        (marks.labels[update], dot(INK, marks.markers[update], linestyle=marks.style(update) if lines else "none"))
        for update in marks.updates
    ]
