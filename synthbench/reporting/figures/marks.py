"""The colour of an optimizer, the marker of an update, and the rows that a figure shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from synthbench.analysis.rows import Row, Values, rank
from synthbench.analysis.statistics import Interval, interval
from synthbench.cards.axis import value_text
from synthbench.common.wording import inert, short

WIDEST = 32  # characters of a name in a legend
# Okabe and Ito's colours, which colour-blind people tell apart, a purple and two of Paul Tol's
COLOURS = {"adamw": "#0072B2", "muon": "#D55E00", "sgd": "#009E73"}
OTHERS = ("#CC79A7", "#E69F00", "#56B4E9", "#5D3A9B", "#000000", "#999933", "#882255")
MARKERS = {"full": "o", "full-hidden": "s", "lora-4": "v", "lora-16": "^", "lora-64": "D"}
MORE = ("P", "X", "*", "<", ">", "p")
PALEST = 0.7  # share of white in the colour of an optimizer's first place on the axes


class Marks:
    """Colours, markers and names of a report's rows. Others than the built-in ones have them in order of appearance; the
    farther a row is on the axes, the darker is its optimizer's colour. apart_from: axes that are drawn otherwise."""

    def __init__(self, rows: Sequence[Row], apart_from: Collection[str] = ()) -> None:
        labels = dict.fromkeys(label for row in rows for label in row.axes if label not in apart_from)
        self._axes = [label for label in labels if len({row.axes.get(label) for row in rows}) > 1]
        self._colours = _assigned(map(self._kind, rows), COLOURS, OTHERS)
        self._places = list(dict.fromkeys(map(self._place, sorted(rows, key=self._values))))
        self._order = list(dict.fromkeys(row.label for row in rows))
        self.updates = list(dict.fromkeys(sorted((row.update for row in rows), key=rank)))
        self.labels = {row.update: row.movable for row in rows}
        self.markers = _assigned(self.updates, MARKERS, MORE)

    def name(self, row: Row) -> str:
        """The optimizer as tables name it, with its place on the axes in which rows differ."""
        return inert(row.label + "*" * row.reference) + self._place(row)

    def colour(self, row: Row) -> str:
        place, last = self._places.index(self._place(row)), len(self._places) - 1
        return _paler(self._colours[self._kind(row)], PALEST * (1 - place / last) if last else 0.0)

    def colours(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """Name and colour of every optimizer of some rows."""
        ordered = sorted(rows, key=lambda row: (self._order.index(row.label), self._places.index(self._place(row))))
        colours = {self.name(row): self.colour(row) for row in ordered}
        return [(short(name, WIDEST), colour) for name, colour in colours.items()]

    def style(self, update: str) -> str:
        """Of a line: solid where the weights themselves move, dashed where adapters do."""
        return "--" if update.startswith("lora-") else "-"

    def _kind(self, row: Row) -> str:
        """The optimizer whose colour a row has: of a variant the built-in one behind it."""
        kinds = [row.optimizer, row.variant_of, *row.base[:1]] if row.variant_of else []
        return next((kind for kind in kinds if kind in COLOURS), row.label)

    def _values(self, row: Row) -> list[tuple[bool, float | str]]:
        """Its values on the axes, to be sorted: numbers before names."""
        return [(isinstance(value := row.axes.get(label, ""), str), value) for label in self._axes]

    def _place(self, row: Row) -> str:
        return "".join(f", {label} {value_text(row.axes[label])}" for label in self._axes if label in row.axes)


def _assigned(names: Iterable[str], known: dict[str, str], others: Sequence[str]) -> dict[str, str]:
    """A mark for each name: the known one, else the next of the others."""
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    return known | {name: others[index % len(others)] for index, name in enumerate(unknown)}


def _paler(colour: str, white: float) -> str:
    """A colour mixed with this share of white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + white * (255 - part)):02X}" for part in parts)


def of_one_size(rows: Sequence[Row]) -> list[Row]:
    """The rows whose data has the task's own size, the least one where none has."""
    size = min((row.size for row in rows), key=lambda size: (size != 1, size), default=1)
    return [row for row in rows if row.size == size]


def plain(rows: Sequence[Row]) -> list[Row]:
    """The rows of optimizers as they are, without variants and what starts from their models; all of them where there are
    only variants."""
    variants = {row.optimizer for row in rows if row.variant_of is not None}
    return [row for row in rows if row.variant_of is None and variants.isdisjoint(row.base)] or list(rows)


def tasks(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))


def mean(values: Values | None) -> Interval | None:
    """The mean over seeds with its 95 % interval; None where nothing was measured."""
    return interval([*values.values()]) if values else None
