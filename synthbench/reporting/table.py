"""The table: rows summarized once, written in many formats with equal numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthbench.reporting.rows import Row
from synthbench.scores import SCORES
from synthbench.scores.statistics import Interval, interval
from synthbench.wording import delimited, inert, literal, short

DIGITS = 4  # kept of every number, in every format
SHOWN = 2  # of these in text
WIDEST = 32  # characters of a name in a table
FOLDED = {"task": 12, "optimizer": 9}  # columns whose long names go on in a second line, and their least widths
ARROWS = {"up": "↑", "down": "↓", "-": ""}


@dataclass(frozen=True)
class Entry:
    """A number of the table: mean and 95 % interval over seeds, rounded once for every format."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, found: Interval) -> Entry:
        mean, low, high = (round(x, DIGITS) + 0.0 if x == x else None for x in found[:3])
        return cls(mean, low, high, found.n)

    def text(self, expected: int) -> str:
        """`0.52 ±0.09`, with its n where that is not what is expected."""
        if self.mean is None:
            return "not reached" if expected else "diverged"
        spread = "" if self.low is None else f" ±{round(self.mean - self.low, DIGITS):.{SHOWN}f}"
        return f"{self.mean:.{SHOWN}f}{spread}" + (f" n={self.n}" if self.n != expected else "")


@dataclass(frozen=True)
class Line:
    """A row as it is shown. lr: the chosen rate as text, `!` behind it on the edge of its grid."""

    row: Row
    entries: dict[str, Entry]

    @property
    def lr(self) -> str:
        return "-" if self.row.lr is None else f"{self.row.lr:.3g}" + ("!" if self.row.edge else "")

    @property
    def name(self) -> str:
        return self.row.label + ("*" if self.row.reference else "")

    @property
    def n(self) -> str:
        return str(len(self.row.seeds))

    @property
    def diverged(self) -> str:
        return f"{self.row.diverged}/{self.row.runs}"


@dataclass(frozen=True)
class Table:
    """title, then lines under fixed columns and scores; notes explain marks."""

    title: str
    scores: list[str]
    lines: list[Line]
    notes: list[str]

    def fixed(self) -> dict[str, Callable[[Line], str]]:
        """The columns before the scores: only those that tell rows apart."""
        columns: dict[str, Callable[[Line], str]] = {}
        if len({line.row.task for line in self.lines}) > 1:
            columns["task"] = lambda line: line.row.task
        columns |= {"optimizer": lambda line: line.name, "update": lambda line: line.row.update}
        if len({line.row.weight_decay for line in self.lines}) > 1:
            columns["decay"] = lambda line: f"{line.row.weight_decay:g}"
        return columns | {"lr": lambda line: line.lr, "n": lambda line: line.n, "div.": lambda line: line.diverged}

    def heads(self) -> list[str]:
        return [*self.fixed(), *(f"{name} {ARROWS[SCORES[name].better]}".strip() for name in self.scores)]

    def cells(self) -> list[list[str]]:
        """Every line as text."""
        return [
            [short(inert(show(line)), WIDEST) for show in self.fixed().values()]
            + [line.entries[name].text(expected(line, name)) for name in self.scores]
            for line in self.lines
        ]


def expected(line: Line, name: str) -> int:
    """Seeds that an entry should rest on: all of them, or none where every run diverged."""
    return len(line.row.seeds) if line.row.lr is not None else 0


def make(title: str, rows: Sequence[Row], scores: Sequence[str], notes: Sequence[str]) -> Table:
    lines = [
        Line(row, {name: Entry.of(interval([*row.values.get(name, {}).values()])) for name in scores}) for row in rows
    ]
    return Table(title, list(scores), lines, [inert(note) for note in notes])


def as_rich(table: Table) -> Any:
    """For a terminal; scores in two-line heads, so that five of them fit into 100 columns."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    fixed = len(table.fixed())
    for place, head in enumerate(table.heads()):
        text = Text(head.replace("@fit", "\n@fit").replace("_", "\n", 1) if place >= fixed else head)
        drawn.add_column(
            text, justify="right" if place >= fixed or head in ("lr", "n", "div.") else "left",
            no_wrap=place < fixed and head not in FOLDED, min_width=FOLDED.get(head),
            overflow="fold" if head in FOLDED else "ellipsis",
        )  # fmt: skip
    previous = None
    for line, cells in zip(table.lines, table.cells(), strict=True):
        if previous is not None and previous != line.name:
            drawn.add_section()
        drawn.add_row(*(Text(cell) for cell in cells), style="dim" if line.row.reference else "")
        previous = line.name
    return drawn


def as_markdown(table: Table) -> str:
    from tabulate import tabulate

    rows = [[literal(cell) for cell in row] for row in table.cells()]
    drawn = tabulate(rows, table.heads(), tablefmt="github", disable_numparse=True)
    return "\n\n".join([drawn, *map(literal, table.notes)])


def as_latex(table: Table) -> str:
    from tabulate import tabulate

    heads = [head.translate({ord("↑"): "(up)", ord("↓"): "(down)"}) for head in table.heads()]
    drawn: str = tabulate(table.cells(), heads, tablefmt="latex_booktabs", disable_numparse=True)
    drawn = re.sub(r"^(\s*)([*\[])", r"\1{\2}", drawn, flags=re.MULTILINE)  # no arguments of the row's end before them
    return drawn.replace("±", "$\\pm$")


def records(table: Table) -> list[dict[str, Any]]:
    """One flat dictionary a line, with the bounds of every interval."""
    found = []
    for line in table.lines:
        row = line.row
        record: dict[str, Any] = {
            "task": row.task, "base": "/".join(row.base), "optimizer": row.optimizer, "update": row.update,
            "weight_decay": row.weight_decay, "lr": row.lr, "edge": row.edge, "n": len(row.seeds), "runs": row.runs,
            "diverged": row.diverged, "reference": row.reference, "device": row.device,
        }  # fmt: skip
        for name, entry in line.entries.items():
            record |= {name: entry.mean, f"{name}_low": entry.low, f"{name}_high": entry.high, f"{name}_n": entry.n}
        found.append(record)
    return found


def as_csv(table: Table) -> str:
    return separated(records(table))


def separated(found: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV; tables and lists in them as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for one in found for key in one)), lineterminator="\n")
    writer.writeheader()
    for one in found:
        writer.writerow({key: json.dumps(value) if isinstance(value, dict | list) else delimited(value)
                         for key, value in one.items()})  # fmt: skip
    return text.getvalue().rstrip("\n")


def as_json(table: Table) -> str:
    better = {name: SCORES[name].better for name in table.scores}
    content = {"title": table.title, "better": better, "rows": records(table), "notes": table.notes}
    return json.dumps(content, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Table], str]] = {
    "markdown": as_markdown,
    "csv": as_csv,
    "json": as_json,
    "latex": as_latex,
}
