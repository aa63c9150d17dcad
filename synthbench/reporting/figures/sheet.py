"""How figures look: panels side by side, one a task, and the legend behind the last of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval
from synthbench.cards import RunnerCard
from synthbench.common.wording import inert
from synthbench.reporting.figures.marks import Marks, brief

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
    "axes.axisbelow": True, "lines.linewidth": 1.2, "errorbar.capsize": 0,
}  # fmt: skip

Group = tuple[str, Sequence[tuple[str, Line2D]]]  # of a legend: its title, then labels and their marks


@dataclass(frozen=True)
class Panels:
    """Panels by name, the labels of their axes, and inches: height, more where the legend needs it; left, for what stands
    beside the first column."""

    names: Sequence[str]
    x: str
    y: str
    height: float = 2.1
    left: float = LEFT


@contextmanager
def styled() -> Iterator[None]:
    """Within it figures look the same whatever a person's settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # in a plug-in's name; only its size is measured
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


class Sheet:
    """A figure of equal panels and the legend. reading: two lines below the title that say how to read it."""

    def __init__(self, title: str, reading: str, panels: Panels, legend: Sequence[Group]) -> None:
        names, cells = panels.names, len(panels.names) + 1
        self._columns, self._left = 2 if cells in (2, 4) else 3, panels.left
        self._rows = ceil(cells / self._columns)
        self._wide = (WIDTH - panels.left - RIGHT - (self._columns - 1) * BESIDE) / self._columns
        columns = _columns([group for group in legend if group[1]], panels.height + SPARE, self._wide)
        self._height = max(panels.height, *(_tall(groups) - SPARE for groups in columns))
        self._tall = TOP + self._rows * self._height + (self._rows - 1) * BELOW + BOTTOM
        self.figure = Figure(figsize=(WIDTH, self._tall))
        self.figure.text(0.12 / WIDTH, 1 - 0.12 / self._tall, title, fontsize=12, fontweight="bold", va="top")
        self.figure.text(0.12 / WIDTH, 1 - 0.37 / self._tall, reading, color=GREY, va="top", linespacing=1.3)
        self.axes = {name: self._panel(index, panels) for index, name in enumerate(names)}
        across, up = self._corner(len(names))
        for groups in columns:
            top = up + self._height + SPARE / 2
            for group in groups:
                self._legend(group, across, top)
                top -= _tall([group])
            across += _across(groups)

    def shares(self, which: str) -> None:
        """Makes the axes `x`, `y` or `xy` of all panels go from 0 to 1, with a little room beside."""
        for axes in self.axes.values():
            for name in which:
                getattr(axes, f"set_{name}ticks")([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
                getattr(axes, f"set_{name}lim")(-0.04, 1.04)

    def _corner(self, index: int) -> tuple[float, float]:
        """The lower left corner of a panel, in inches."""
        row, column = divmod(index, self._columns)
        x = self._left + column * (self._wide + BESIDE)
        return x, BOTTOM + (self._rows - 1 - row) * (self._height + BELOW)

    def _panel(self, index: int, panels: Panels) -> Axes:
        across, up = self._corner(index)
        box = (across / WIDTH, up / self._tall, self._wide / WIDTH, self._height / self._tall)
        is_lowest = index + self._columns >= len(panels.names)
        axes = self.figure.add_axes(box, xlabel=panels.x if is_lowest else "")
        axes.tick_params(length=2.5)
        if index % self._columns == 0:
            axes.set_ylabel(panels.y)
        else:
            axes.tick_params(labelleft=False)
        axes.set_title(brief(inert(panels.names[index]), 32))
        return axes

    def _legend(self, group: Group, x: float, y: float) -> None:
        title, entries = group
        legend = Legend(
            self.figure, [handle for _, handle in entries], ["" for _ in entries], title=title, loc="upper left",
            bbox_to_anchor=(x / WIDTH, y / self._tall), bbox_transform=self.figure.transFigure, frameon=False,
            borderpad=0, borderaxespad=0, labelspacing=0.35, handlelength=1.8, alignment="left",
            title_fontproperties={"weight": "bold"},
        )  # fmt: skip
        for text, (label, _) in zip(legend.get_texts(), entries, strict=True):
            text.set_text(label)  # matplotlib leaves out labels that begin with `_`
        self.figure.add_artist(legend)


def _columns(groups: Sequence[Group], room: float, wide: float) -> list[list[Group]]:
    """A legend's groups below each other; in two columns where they are too tall for the room and narrow enough."""
    for index in reversed(range(1, len(groups))):
        columns = [list(groups[:index]), list(groups[index:])]
        fits = max(map(_tall, columns)) <= room and sum(map(_across, columns)) <= wide
        if _tall(groups) > room and fits:
            return columns
    return [list(groups)]


def _tall(groups: Sequence[Group]) -> float:
    """Inches of a legend's groups below each other, each with its title and the gap behind it."""
    return LINE * sum(len(entries) + 1.6 for _, entries in groups)


def _across(groups: Sequence[Group]) -> float:
    return 0.55 + 0.072 * max(len(label) for _, entries in groups for label, _ in entries)


def svg(figure: Figure) -> bytes:
    """A figure as text that is the same whenever and wherever it is written."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "synthbench"})
    return file.getvalue()


def means(
    axes: Axes, x: Sequence[Interval | float], y: Sequence[Interval | float], colour: str, marker: str, **more: Any
) -> None:
    """Points where means are, with bars as long as their intervals; joined where `linestyle` says how."""
    looks: dict[str, Any] = {"markersize": 4.5, "linestyle": "none", "color": colour, "marker": marker} | more
    bars: dict[str, Any] = {"xerr": _bars(x), "yerr": _bars(y), "elinewidth": 0.9, "ecolor": (colour, 0.55)}
    left, up = ([value.mean if isinstance(value, Interval) else value for value in values] for values in (x, y))
    axes.errorbar(left, up, **bars, **looks)


def _bars(values: Sequence[Interval | float]) -> list[list[float]] | None:
    """The way down and up from every mean to its bounds, 0 where there is one seed alone."""
    known = [value if value.n > 1 else value._replace(low=value.mean, high=value.mean)
             for value in values if isinstance(value, Interval)]  # fmt: skip
    return (
        [[value.mean - value.low for value in known], [value.high - value.mean for value in known]] if known else None
    )


def at_fit(card: RunnerCard) -> str:
    """The first line of a figure of scores `x@fit`."""
    fit, target_step = card.reading.fit, card.reading.target_step
    return f"Interpolated to training accuracy {fit:g} at step {target_step}; means with {SPREAD}."


def dot(colour: str, marker: str = "o", **more: Any) -> Line2D:
    """A marker in a legend."""
    looks: dict[str, Any] = {"linestyle": "none", "markersize": 5.5, "color": colour, "marker": marker}
    return Line2D([], [], **looks | more)


def optimizers(marks: Marks, rows: Sequence[Row]) -> Group:
    return "optimizer", [(name, dot(colour, "", linestyle="-", linewidth=2)) for name, colour in marks.colours(rows)]


def updates(marks: Marks, *, lines: bool = False) -> Group:
    """lines: whether updates differ in how lines are drawn, too."""
    return "update", [
        (marks.labels[update], dot(INK, marks.marker(update), linestyle=marks.style(update) if lines else "none"))
        for update in marks.updates
    ]
