"""How figures look: panels side by side, one a task, with the legend in the place behind the last of them."""

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
from matplotlib.legend import Legend
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
    "axes.axisbelow": True, "lines.linewidth": 1.2, "errorbar.capsize": 0,
}  # fmt: skip

Group = tuple[str, Sequence[tuple[str, Line2D]]]  # of a legend: its title, then what stands for what


@contextmanager
def styled() -> Iterator[None]:
    """Within it figures look the same whatever the person's own settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a plug-in's name; it only measures text
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


class Sheet:
    """A figure of equal panels by name, and the legend. reading: two lines below the title that say how to read it.

    height: inches of a panel, more where the legend needs it. left: inches for what stands beside the first column.
    """

    def __init__(
        self, title: str, reading: str, names: Sequence[str], x: str, y: str, legend: Sequence[Group],
        height: float = 2.1, left: float = LEFT,
    ) -> None:  # fmt: skip
        cells = len(names) + 1
        self._columns = 2 if cells in (2, 4) else 3
        self._wide = (WIDTH - left - RIGHT - (self._columns - 1) * BESIDE) / self._columns
        columns = _columns([group for group in legend if group[1]], height + SPARE, self._wide)
        self._height = max(height, *(_tall(groups) - SPARE for groups in columns))
        self._rows, self._left = ceil(cells / self._columns), left
        self._tall = TOP + self._rows * self._height + (self._rows - 1) * BELOW + BOTTOM
        self.figure = Figure(figsize=(WIDTH, self._tall))
        self.figure.text(0.12 / WIDTH, 1 - 0.12 / self._tall, title, fontsize=12, fontweight="bold", va="top")
        self.figure.text(0.12 / WIDTH, 1 - 0.37 / self._tall, reading, color=GREY, va="top", linespacing=1.3)
        self.axes = {name: self._panel(place, x if place + self._columns >= len(names) else "", y)
                     for place, name in enumerate(names)}  # fmt: skip
        for name, axes in self.axes.items():
            axes.set_title(short(inert(name), 32))
        across, top = self._corner(len(names))
        for groups in columns:
            down = top + self._height + SPARE / 2
            for group in groups:
                self._legend(group, across, down)
                down -= _tall([group])
            across += _across(groups)

    def _corner(self, place: int) -> tuple[float, float]:
        """Of a panel's place the lower left corner, in inches."""
        row, column = divmod(place, self._columns)
        x = self._left + column * (self._wide + BESIDE)
        return x, BOTTOM + (self._rows - 1 - row) * (self._height + BELOW)

    def _panel(self, place: int, x: str, y: str) -> Axes:
        across, up = self._corner(place)
        axes = self.figure.add_axes(
            (across / WIDTH, up / self._tall, self._wide / WIDTH, self._height / self._tall), xlabel=x
        )
        axes.tick_params(length=2.5)
        if place % self._columns == 0:
            axes.set_ylabel(y)
        else:
            axes.tick_params(labelleft=False)
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
            text.set_text(label)  # not as a label, of which one with `_` at its beginning would be left out
        self.figure.add_artist(legend)


def _columns(groups: Sequence[Group], room: float, wide: float) -> list[list[Group]]:
    """A legend's groups below each other; in two columns where they are too tall for the room and narrow enough."""
    for place in reversed(range(1, len(groups))):
        columns = [list(groups[:place]), list(groups[place:])]
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


def share(axes: Axes, x: bool = True, y: bool = True) -> None:
    """Axes from 0 to 1, with a little room beside."""
    for wanted, limits, ticks in ((x, axes.set_xlim, axes.set_xticks), (y, axes.set_ylim, axes.set_yticks)):
        if wanted:
            ticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
            limits(-0.04, 1.04)


def means(
    axes: Axes, x: Sequence[Interval | float], y: Sequence[Interval | float], colour: str, marker: str, **more: Any
) -> None:
    """Points where means are, with bars as long as their intervals; joined where `linestyle` says how."""
    looks: dict[str, Any] = {"markersize": 4.5, "linestyle": "none", "color": colour, "marker": marker} | more
    bars: dict[str, Any] = {"xerr": _bars(x), "yerr": _bars(y), "elinewidth": 0.9, "ecolor": (colour, 0.55)}
    axes.errorbar(list(map(_mean, x)), list(map(_mean, y)), **bars, **looks)


def _mean(one: Interval | float) -> float:
    return one.mean if isinstance(one, Interval) else one


def _bars(found: Sequence[Interval | float]) -> list[list[float]] | None:
    """Of every mean the way down and up to its bounds; none where there is one seed alone."""
    known = [one for one in found if isinstance(one, Interval)]
    if not known:
        return None
    return [
        [one.mean - one.low if one.n > 1 else 0.0 for one in known],
        [one.high - one.mean if one.n > 1 else 0.0 for one in known],
    ]


def at_fit(card: RunnerCard) -> str:
    """What a figure of scores `x@fit` says first."""
    fit, target_step = card.reading.fit, card.reading.target_step
    return f"Where fit first reaches {fit:g}, at the rate that takes {target_step} steps to it; means with {SPREAD}."


def dot(colour: str, marker: str = "o", **more: Any) -> Line2D:
    """What a legend shows of a marker."""
    looks: dict[str, Any] = {"linestyle": "none", "markersize": 5.5, "color": colour, "marker": marker}
    return Line2D([], [], **looks | more)


def optimizers(marks: Marks, rows: Sequence[Row]) -> Group:
    return "optimizer", [(name, dot(colour, "", linestyle="-", linewidth=2)) for name, colour in marks.colours(rows)]


def updates(marks: Marks, lines: bool = False) -> Group:
    """lines: whether updates differ in how lines are drawn, too."""
    return "update", [
        (marks.labels[update], dot(INK, marks.marker(update), linestyle=style(update) if lines else "none"))
        for update in marks.updates
    ]


def style(update: str) -> str:
    """Of a line: solid where the weights themselves move, dashed where adapters do."""
    return "--" if update.startswith("lora-") else "-"
