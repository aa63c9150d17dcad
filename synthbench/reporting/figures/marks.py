"""What stands for what in every figure: a colour for an optimizer, a marker for an update, a mean for a row's seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from synthbench.analysis.rows import Row, Values
from synthbench.analysis.statistics import Interval, interval
from synthbench.common.wording import inert, short

WIDEST = 24  # characters of a name in a legend
# Okabe and Ito's colours, which colour-blind people tell apart, a purple and two of Paul Tol's
COLOURS = {"adamw": "#0072B2", "muon": "#D55E00", "sgd": "#009E73"}
OTHERS = ("#CC79A7", "#E69F00", "#56B4E9", "#5D3A9B", "#000000", "#999933", "#882255")
MARKERS = {"full": "o", "full-hidden": "s", "lora-4": "v", "lora-16": "^", "lora-64": "D"}
MORE = ("P", "X", "*", "<", ">", "p")


class Marks:
    """Colours, markers and names of a report's rows. Others than the built-in ones have them in order of appearance."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._has_decays = len({row.weight_decay for row in rows}) > 1
        names = list(dict.fromkeys(map(self._known, rows)))
        others = [name for name in names if name not in COLOURS]
        self._colours = COLOURS | {name: OTHERS[place % len(OTHERS)] for place, name in enumerate(others)}
        self.updates = list(dict.fromkeys(row.update for row in sorted(rows, key=_rank)))
        self.labels = {row.update: row.movable for row in rows}
        unknown = [update for update in self.updates if update not in MARKERS]
        self._markers = MARKERS | {update: MORE[place % len(MORE)] for place, update in enumerate(unknown)}

    def name(self, row: Row) -> str:
        """The optimizer as tables name it, with the weight decay where rows differ in it."""
        name = (row.optimizer if row.variant_of else row.label) + ("*" if row.reference else "")
        decay = f", decay {row.weight_decay:g}" if self._has_decays else ""
        return inert(name) + decay

    def colour(self, row: Row) -> str:
        return self._colours[self._known(row)]

    def colours(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """Of some rows every optimizer's name and colour."""
        return [(brief(name), colour) for name, colour in {self.name(row): self.colour(row) for row in rows}.items()]

    def marker(self, update: str) -> str:
        return self._markers[update]

    def _known(self, row: Row) -> str:
        """What has a colour: an optimizer, and for a variant the one that it is a kind of."""
        kinds = [row.optimizer, row.variant_of, row.base[0]] if row.variant_of else [row.label]
        return next((kind for kind in kinds if kind in COLOURS), row.label) + self._decay(row)

    def _decay(self, row: Row) -> str:
        return f" {row.weight_decay:g}" if self._has_decays else ""


def _rank(row: Row) -> tuple[int, int]:
    """Full updates first, then low-rank ones from the largest rank down, as tables have them."""
    return (1, -int(row.update[5:])) if row.update.startswith("lora-") else (0, len(row.update))


def brief(name: str) -> str:
    """A name as short as a legend has it."""
    return short(name, WIDEST)


def of_one_size(rows: Sequence[Row]) -> list[Row]:
    """The rows whose data has the task's own size, the least one where none has."""
    size = min((row.size for row in rows), key=lambda size: (size != 1, size), default=1)
    return [row for row in rows if row.size == size]


def plain(rows: Sequence[Row]) -> list[Row]:
    """The rows of optimizers as they are, without variants; all of them where there are only variants."""
    return [row for row in rows if row.variant_of is None] or list(rows)


def tasks(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))


def mean(values: Values | None) -> Interval | None:
    """The mean over seeds with its 95 % interval; None where nothing was measured."""
    return interval([*values.values()]) if values else None
