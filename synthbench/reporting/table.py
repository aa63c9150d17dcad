"""The table: rows summarized once, written in many formats with equal numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from synthbench.analysis.pairing import differences
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import Interval, interval
from synthbench.common.wording import delimited, inert, literal, short
from synthbench.scores import SCORES
from synthbench.scores.reading import Reached, median

DIGITS = 4  # kept of every number, in every format
SHOWN = 2  # of these in text
WIDEST = 32  # characters of a name in a table
RIGHT = ("tier", "lr", "n", "div.")  # columns of numbers before the scores, which stand once
FOLDED = {"task": 12, "optimizer": 9}  # columns whose long names go on in a second line, and their least widths
CEILING = 0.95  # share of the bits in the data
ARROWS = {"up": "↑", "down": "↓", "-": ""}


@dataclass(frozen=True)
class Entry:
    """A number of the table: mean and 95 % interval over seeds, rounded once for every format."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    signed: bool = False  # a difference, which shows its sign
    censored: str | None = None  # of a median: `>` or `<` where it is a bound, empty where it is none

    @classmethod
    def median(cls, seeds: Sequence[Reached]) -> Entry:
        """Of values some of which are only bounds: n counts those that are none."""
        found, n = median(seeds), sum(not one.censored for one in seeds)
        return (
            cls(round(found.value, DIGITS), None, None, n, censored=found.censored)
            if found
            else cls(None, None, None, 0)
        )

    @classmethod
    def of(cls, found: Interval, signed: bool = False) -> Entry:
        mean, low, high = (round(x, DIGITS) + 0.0 if x == x else None for x in found[:3])
        return cls(mean, low, high, found.n, signed)

    def text(self, expected: int) -> str:
        """`0.52 ±0.09`, with its n where that is not what is expected."""
        if self.mean is None:
            return "not reached" if expected else "diverged"
        if self.censored is not None:
            return f"{self.censored}{self.mean:.0f} ({self.n}/{expected})"
        spread = "" if self.low is None else f" ±{round(self.mean - self.low, DIGITS):.{SHOWN}f}"
        sign = "+" * self.signed
        return f"{self.mean:{sign}z.{SHOWN}f}{spread}" + (f" n={self.n}" if self.n != expected else "")


@dataclass(frozen=True)
class Line:
    """A row as it is shown. lr: the chosen rate as text, `!` behind it on the edge of its grid.

    rival: the row that the entries are differences to. tier: the row's, where it has one.
    """

    row: Row
    entries: dict[str, Entry]
    rival: Row | None = None
    tier: int | None = None

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
    """title, then lines under fixed columns and scores; notes explain marks.

    tiers: whether lines have them. versus: the optimizer to whose rows the entries are differences.
    """

    title: str
    scores: list[str]
    lines: list[Line]
    notes: list[str]
    tiers: bool = False
    versus: str | None = None

    def fixed(self) -> dict[str, Callable[[Line], str]]:
        """The columns before the scores: only those that tell rows apart."""
        columns: dict[str, Callable[[Line], str]] = {}
        if len({line.row.task for line in self.lines}) > 1:
            columns["task"] = lambda line: line.row.task
        columns |= {"optimizer": lambda line: line.name, "update": lambda line: line.row.movable}
        if len({line.row.size for line in self.lines}) > 1:
            columns["size"] = lambda line: f"{line.row.size:g}x"
        if len({line.row.weight_decay for line in self.lines}) > 1:
            columns["decay"] = lambda line: f"{line.row.weight_decay:g}"
        if self.tiers:
            columns["tier"] = lambda line: str(line.tier or "-")
        return columns | {"lr": lambda line: line.lr, "n": lambda line: line.n, "div.": lambda line: line.diverged}

    def heads(self) -> list[str]:
        return [*self.fixed(), *(f"{name} {ARROWS[SCORES[name].better]}".strip() for name in self.scores)]

    def cells(self) -> list[list[str]]:
        """Every line as text."""
        return [
            [short(inert(show(line)), WIDEST) for show in self.fixed().values()]
            + [self._entry(line, name) for name in self.scores]
            for line in self.lines
        ]

    def _entry(self, line: Line, name: str) -> str:
        compared = self.versus is None or line.rival is not None
        text = line.entries[name].text(expected(line)) if compared and applies(name, line.row) else "-"
        return f"{text} ceiling" if name == "bits_per_param" and self.versus is None and at_ceiling(line.row) else text


def applies(name: str, row: Row) -> bool:
    """Whether a score has a meaning for a row: where all runs diverged, or at the end what it is a reading of was
    measured."""
    of = "rule_accuracy" if name.endswith("@t") else name.removesuffix("@fit").removesuffix("_over_fit")
    return row.lr is None or bool(row.values.get(of))


def at_ceiling(row: Row) -> bool:
    """Whether a row stores nearly all that its facts hold, so that more could not be seen."""
    stored, held = (row.values.get(name, {}) for name in ("bits_per_param", "dataset_bits_per_param"))
    return bool(stored and held) and fmean(stored.values()) >= CEILING * fmean(held.values())


def expected(line: Line) -> int:
    """Seeds that an entry should rest on: all of them, or none where every run diverged."""
    compared = [line.row] if line.rival is None else [line.row, line.rival]
    return 0 if any(row.lr is None for row in compared) else len(line.row.seeds)


def make(
    title: str, rows: Sequence[Row], scores: Sequence[str], notes: Sequence[str],
    tiers: Sequence[int | None] | None = None, versus: str | None = None, rivals: Sequence[Row | None] = (),
) -> Table:  # fmt: skip
    """A table of rows. tiers: by row. versus: an optimizer, with `rivals` its row that each row is compared with."""
    compared = zip(rows, rivals if versus else [None] * len(rows), tiers or [None] * len(rows), strict=True)
    lines = [
        Line(row, {name: _entry(row, rival, name, versus) for name in scores}, rival, tier)
        for row, rival, tier in compared
    ]
    return Table(title, list(scores), lines, [inert(note) for note in notes], tiers is not None, versus)


def _entry(row: Row, rival: Row | None, name: str, versus: str | None) -> Entry:
    own = row.values.get(name, {})
    if name.endswith("@t") and versus is None:
        marks = row.censored.get(name, {})
        return Entry.median([Reached(value, marks.get(seed, "")) for seed, value in own.items()])
    if versus is None:
        return Entry.of(interval([*own.values()]))
    return Entry.of(interval(differences(row.exact(name), rival.exact(name) if rival else {})), signed=True)


def as_rich(table: Table) -> Any:
    """For a terminal: scores in two- or three-line heads, in as many tables one below the other as the width takes."""
    from synthbench.reporting.terminal_table import Column, Drawing

    fixed, heads, cells = len(table.fixed()), table.heads(), list(zip(*table.cells(), strict=True))
    columns = [
        Column(
            head.replace("@fit", "\n@fit").replace("_", "\n", 1) if place >= fixed else head,
            cells[place] if cells else (), is_right=place >= fixed or head in RIGHT, least=FOLDED.get(head),
        )
        for place, head in enumerate(heads)
    ]  # fmt: skip
    names = [(line.row.task, line.name) for line in table.lines]
    changes = [place for place, (before, after) in enumerate(pairwise(names)) if before != after]
    return Drawing(
        [column for column, head in zip(columns[:fixed], heads, strict=False) if head not in RIGHT],
        [column for column, head in zip(columns, heads, strict=True) if head in RIGHT] + columns[fixed:],
        breaks=changes if len(changes) < len(set(names)) else [],
        dim=[line.row.reference for line in table.lines],
    )


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
            "size": row.size, "weight_decay": row.weight_decay, "lr": row.lr, "edge": row.edge, "n": len(row.seeds),
            "runs": row.runs, "diverged": row.diverged, "reference": row.reference, "device": row.device,
        }  # fmt: skip
        if table.tiers:
            record["tier"] = line.tier
        if table.versus:
            record["versus"] = line.rival.label if line.rival else None
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


def content(table: Table) -> dict[str, Any]:
    """The table as one object."""
    better = {name: SCORES[name].better for name in table.scores}
    versus = {"versus": table.versus} if table.versus else {}
    return {"title": table.title, "better": better} | versus | {"rows": records(table), "notes": table.notes}


def as_json(table: Table) -> str:
    return json.dumps(content(table), indent=1, allow_nan=False)
