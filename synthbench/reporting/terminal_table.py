"""Columns of text on a terminal: in one table if they fit beside each other, else in several, one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

GAP = 2  # between columns; 1 where all of them then stand beside each other


class Column(NamedTuple):
    """A head of one or more lines, and cells. least: the width down to which long cells go on in a second line, None for
    a column that keeps its width."""

    head: str
    cells: Sequence[str]
    is_right: bool = False
    least: int | None = None

    @property
    def width(self) -> int:
        return max(map(cell_len, [*self.head.split("\n"), *self.cells]))

    @property
    def narrowest(self) -> int:
        return self.width if self.least is None else min(self.width, self.least)


class Drawing:
    """Draws columns within the width of whatever console it is printed on.

    named: the columns that name a row; they stand in every table. others: the rest, in order. breaks: rows below which a
    line is left free. dim: by row, whether it is shown dimly.
    """

    def __init__(
        self, named: Sequence[Column], others: Sequence[Column], breaks: Sequence[int] = (), dim: Sequence[bool] = ()
    ) -> None:
        self.named, self.others, self.breaks, self.dim = named, others, breaks, dim

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        most, everything = options.max_width, [*self.named, *self.others]
        gap = 1 if least(everything, 1) <= most < least(everything, GAP) else GAP
        for place, columns in enumerate(parts(self.named, self.others, most, gap)):
            if place:
                yield Text()
            yield self._table(columns, widths(columns, most, gap), gap)

    def _table(self, columns: Sequence[Column], wide: Sequence[int], gap: int) -> Table:
        drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
        for column, width in zip(columns, wide, strict=True):
            justify: Any = "right" if column.is_right else "left"
            drawn.add_column(Text(column.head), justify=justify, width=width, overflow="fold")
        for place, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
            style = "dim" if self.dim and self.dim[place] else ""
            drawn.add_row(*map(Text, cells), style=style, end_section=place in self.breaks)
        return drawn


def parts(named: Sequence[Column], others: Sequence[Column], most: int, gap: int = GAP) -> list[list[Column]]:
    """The columns of each table: those that name a row, and as many others as fit, at least one."""
    found, free = [list(named)], most - least(named, gap)
    for column in others:
        needed = column.narrowest + gap
        if needed > free and len(found[-1]) > len(named):
            found.append(list(named))
            free = most - least(named, gap)
        found[-1].append(column)
        free -= needed
    return found


def least(columns: Sequence[Column], gap: int = GAP) -> int:
    """The narrowest that columns can be beside each other."""
    return sum(column.narrowest for column in columns) + gap * (len(columns) - 1)


def widths(columns: Sequence[Column], most: int, gap: int = GAP) -> list[int]:
    """The width of each column: its own where all fit, else long names are folded, the widest first."""
    found = [column.width for column in columns]
    while sum(found) + gap * (len(found) - 1) > most:
        spare = [width - column.narrowest for width, column in zip(found, columns, strict=True)]
        if not any(spare):
            break
        found[max(range(len(found)), key=lambda place: (spare[place] > 0, found[place]))] -= 1
    return found
