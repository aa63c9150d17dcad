"""Columns of text on a terminal: in one table if they fit beside each other, else in several, one below the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from synthbench.common.terminal import encodable

GAP = 2  # between columns; 1 where all of them then stand beside each other
INTERVAL = r"\[[-+.\d]+, ?[-+.\d]+\]"  # is not broken
ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)  # box.SIMPLE_HEAD in ASCII


def fold(text: str, width: int) -> list[str]:
    """Text in lines of at most so many columns: broken at spaces, longer words behind `-`, `/`, `:` or `>`, and inside
    a part of a word only where that is longer than a line."""
    lines = [""]
    for word in re.findall(rf"{INTERVAL}|\S+|\s", text):
        parts = [word] if cell_len(word) <= width else _parts(word)
        for piece in (piece for part in parts for piece in chop_cells(part, width)):
            if cell_len(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += "" if piece.isspace() and lines[-1] == "" and lines[1:] else piece  # an indent is kept
    return [line.rstrip() for line in lines]


def _parts(text: str) -> list[str]:
    """Where text may be broken: behind spaces and `-`, `/`, `:` and `>`."""
    return re.findall(rf"{INTERVAL}|[^-/:>\s]*[-/:>]+|[^-/:>\s]+", text)


def interval_width(cells: Sequence[str]) -> int | None:
    """The width down to which cells with intervals are folded, in front of them; None where there are none."""
    return max((len(text) for cell in cells for text in re.findall(INTERVAL, cell)), default=None)


class Column(NamedTuple):
    """A head of one or more lines, and cells. least: the width down to which long cells are folded, None for a column that
    keeps its width. is_name: whether its words are kept whole, behind `-`, `/`, `:` and `>`, too."""

    head: str
    cells: Sequence[str]
    is_right: bool = False
    least: int | None = None
    is_name: bool = False

    @property
    def width(self) -> int:
        return _widest([*self.head.split("\n"), *self.cells])

    @property
    def folded(self) -> int:
        """The least width, parts of words broken."""
        return self.width if self.least is None else min(self.width, self.least)

    @property
    def unbroken(self) -> int:
        """The least width at which no part of a word is broken."""
        return max(self.folded, _widest(part for text in (self.head, *self.cells) for part in _parts(text)))

    @property
    def whole(self) -> int:
        """The least width at which no word of a name is broken, nor a part of another word."""
        words = (word for text in (self.head, *self.cells) for word in text.split())
        return max(self.unbroken, _widest(words)) if self.is_name else self.unbroken

    def encodable(self, encoding: str) -> Column:
        """The column with what an encoding can show."""
        cells = [encodable(cell, encoding) for cell in self.cells]
        return self._replace(head=encodable(self.head, encoding), cells=cells)


def _widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


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
        most, everything = options.max_width, [c.encodable(options.encoding) for c in (*self.named, *self.others)]
        named, others = everything[: len(self.named)], everything[len(self.named) :]
        gap = 1 if least(everything, 1) <= most < least(everything, GAP) else GAP
        for index, columns in enumerate(parts(named, others, most, gap)):
            if index:
                yield Text()
            table = self._table(columns, widths(columns, most, gap), gap)
            table.box = ASCII_HEAD if options.ascii_only else box.SIMPLE_HEAD
            yield table

    def _table(self, columns: Sequence[Column], wide: Sequence[int], gap: int) -> Table:
        drawn = Table(show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
        for column, width in zip(columns, wide, strict=True):
            head = "\n".join(part for line in column.head.split("\n") for part in fold(line, width))
            drawn.add_column(Text(head), justify="right" if column.is_right else "left", width=width)
        for index, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
            folded = [Text("\n".join(fold(cell, width))) for cell, width in zip(cells, wide, strict=True)]
            style = "dim" if self.dim and self.dim[index] else ""
            drawn.add_row(*folded, style=style, end_section=index in self.breaks)
        return drawn


def parts(named: Sequence[Column], others: Sequence[Column], most: int, gap: int = GAP) -> list[list[Column]]:
    """The columns of each table: those that name a row, and as many others as fit, at least one."""
    tables = [list(named)]
    for column in others:
        if least([*tables[-1], column], gap) > most and len(tables[-1]) > len(named):
            tables.append(list(named))
        tables[-1].append(column)
    return tables


def least(columns: Sequence[Column], gap: int = GAP) -> int:
    """The narrowest that columns can be beside each other with no word of a name broken, nor a part of another word."""
    return sum(column.whole for column in columns) + gap * (len(columns) - 1)


def widths(columns: Sequence[Column], most: int, gap: int = GAP) -> list[int]:
    """The width of each column: its own where all fit, else long cells are folded, the widest first. A word of a name, and
    then a part of a word, is broken only where the terminal is too narrow for a single column beside those that name the
    row."""
    wide, room = [column.width for column in columns], most - gap * (len(columns) - 1)
    for narrowest in zip(*((column.whole, column.unbroken, column.folded) for column in columns), strict=True):
        while sum(wide) > room and wide != [*narrowest]:
            spare = [width > least for width, least in zip(wide, narrowest, strict=True)]
            wide[max(range(len(wide)), key=lambda index: (spare[index], wide[index]))] -= 1
    return wide
