"""The table of a report: rows summarized once, written in many formats with equal numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from synthbench.analysis.pairing import AXES, differences
from synthbench.analysis.rows import Row, applies
from synthbench.analysis.statistics import interval
from synthbench.common.wording import delimited, inert, literal, short
from synthbench.reporting.entries import ARROWS, Entry
from synthbench.scores import SCORES
from synthbench.scores.reading import Reached

WIDEST = 32  # characters of a name in a table
COUNTS = ("tier", "lr", "n", "diverged")  # columns of numbers before the scores, which a wide table has once
NARROWEST = {"task": 12, "optimizer": 9}  # least widths of columns whose long names are folded
CEILING = 0.95  # share of the bits in the data


@dataclass(frozen=True)
class Line:
    """A row as it is shown. rival: the row that the entries are differences to. tier: the row's, where it has one."""

    row: Row
    entries: dict[str, Entry]
    rival: Row | None = None
    tier: int | None = None

    @property
    def expected(self) -> int:
        """Seeds that an entry should rest on: all of them, or none where every run diverged."""
        diverged = any(row.lr is None for row in (self.row, self.rival) if row)
        return 0 if diverged else len(self.row.seeds)


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

    def fixed(self) -> dict[str, list[str]]:
        """The columns before the scores: name and cells. Tasks, sizes and weight decays only where they differ."""
        rows = [line.row for line in self.lines]
        columns = {
            "task": [row.task for row in rows],
            "optimizer": [row.label + "*" * row.reference for row in rows],
            "update": [row.movable for row in rows],
            "size": [f"{row.size:g}x" for row in rows],
            "decay": [f"{row.weight_decay:g}" for row in rows],
            "tier": [str(line.tier or "-") for line in self.lines],
            "lr": ["-" if row.lr is None else f"{row.lr:.3g}" + "!" * row.edge for row in rows],
            "n": [str(len(row.seeds)) for row in rows],
            "diverged": [f"{row.diverged}/{row.runs}" for row in rows],
        }
        unneeded = {name for name in ("task", "size", "decay") if len(set(columns[name])) <= 1}
        unneeded |= set() if self.tiers else {"tier"}
        return {name: cells for name, cells in columns.items() if name not in unneeded}

    def heads(self) -> list[str]:
        return [*self.fixed(), *(f"{name} {ARROWS[SCORES[name].better]}".strip() for name in self.scores)]

    def cells(self) -> list[list[str]]:
        """Every line as text."""
        named = [[short(inert(cell), WIDEST) for cell in cells] for cells in self.fixed().values()]
        scores = [[self._entry(line, name) for line in self.lines] for name in self.scores]
        return [list(cells) for cells in zip(*named, *scores, strict=True)]

    def _entry(self, line: Line, name: str) -> str:
        compared = self.versus is None or line.rival is not None
        text = line.entries[name].text(line.expected) if compared and applies(name, line.row) else "-"
        return f"{text} ceiling" if name == "bits_per_param" and self.versus is None and at_ceiling(line.row) else text


def at_ceiling(row: Row) -> bool:
    """Whether a row stores nearly all bits of its facts."""
    stored, held = (row.values.get(name, {}) for name in ("bits_per_param", "dataset_bits_per_param"))
    return bool(stored and held) and fmean(stored.values()) >= CEILING * fmean(held.values())


def row_name(
    row: Row, rows: Sequence[Row], *, always: Sequence[str] = ("label", "update"), apart_from: str | None = None,
    between: str = " ",
) -> str:  # fmt: skip
    """A row by its values on the axes in which rows differ. always: axes that are named although they do not."""
    differing = {axis for axis in (*AXES, "weight_decay") if len({getattr(row, axis) for row in rows}) > 1}
    axes = [axis for axis in (*AXES, "weight_decay") if axis in always or (axis in differing and axis != apart_from)]
    values = {axis: getattr(row, axis) for axis in axes}
    texts = (v if isinstance(v, str) else f"{axis.removeprefix('weight_')} {v:g}" for axis, v in values.items())
    return between.join(texts)


def make(
    rows: Sequence[Row], scores: Sequence[str], *, title: str = "", notes: Sequence[str] = (),
    tiers: Sequence[int | None] | None = None, versus: str | None = None, rivals: Sequence[Row | None] = (),
) -> Table:  # fmt: skip
    """A table of rows. tiers: by row. versus: an optimizer, with `rivals` its row that each row is compared with."""
    none: list[None] = [None] * len(rows)
    lines = [
        Line(row, {name: _entry(row, rival, name, versus) for name in scores}, rival, tier)
        for row, rival, tier in zip(rows, rivals if versus else none, tiers or none, strict=True)
    ]
    return Table(title, list(scores), lines, [inert(note) for note in notes], tiers is not None, versus)


def _entry(row: Row, rival: Row | None, name: str, versus: str | None) -> Entry:
    if versus is not None:
        paired = differences(row.exact(name), rival.exact(name)) if rival else []
        return Entry.of(interval(paired), signed=True)
    values, marks = row.values.get(name, {}), row.censored.get(name, {})
    if name.endswith("@t"):
        return Entry.median([Reached(value, marks.get(seed, "")) for seed, value in values.items()])
    return Entry.of(interval([*values.values()]))


def as_rich(table: Table) -> Any:
    """For a terminal: scores in two- or three-line heads, in as many tables one below the other as the width takes."""
    from synthbench.reporting.terminal_table import Column, Drawing

    columns, heads = list[Column](), table.heads()
    for head, cells in zip(heads, list(zip(*table.cells(), strict=True)) or [()] * len(heads), strict=True):
        if head in table.fixed():
            columns.append(Column(head, cells, is_right=head in COUNTS, least=NARROWEST.get(head)))
        else:
            columns.append(Column(head.replace("@fit", "\n@fit").replace("_", "\n", 1), cells, is_right=True))
    named = [column for column in columns if column.head in table.fixed() and column.head not in COUNTS]
    names = [(line.row.task, line.row.label) for line in table.lines]
    changes = [index for index, (before, after) in enumerate(pairwise(names)) if before != after]
    return Drawing(
        named, [column for column in columns if column not in named],
        breaks=changes if len(changes) < len(set(names)) else [], dim=[line.row.reference for line in table.lines],
    )  # fmt: skip


def github(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown, cells as they are."""
    from tabulate import tabulate

    return str(tabulate(rows, heads, tablefmt="github", disable_numparse=True))


def as_markdown(table: Table) -> str:
    drawn = github(table.heads(), [[literal(cell) for cell in cells] for cells in table.cells()])
    return "\n\n".join([drawn, *map(literal, table.notes)])


def as_latex(table: Table) -> str:
    from tabulate import tabulate

    heads = [head.translate({ord("↑"): "(up)", ord("↓"): "(down)"}) for head in table.heads()]
    drawn: str = tabulate(table.cells(), heads, tablefmt="latex_booktabs", disable_numparse=True)
    # a star or bracket would be an argument of the row's end before it
    drawn = re.sub(r"^(\s*)([*\[])", r"\1{\2}", drawn, flags=re.MULTILINE)
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
    writer = csv.DictWriter(text, list(dict.fromkeys(key for record in found for key in record)), lineterminator="\n")
    writer.writeheader()
    for record in found:
        writer.writerow({key: json.dumps(value) if isinstance(value, dict | list) else delimited(value)
                         for key, value in record.items()})  # fmt: skip
    return text.getvalue().rstrip("\n")


def content(table: Table) -> dict[str, Any]:
    """The table as one object, for JSON."""
    better = {name: SCORES[name].better for name in table.scores}
    versus = {"versus": table.versus} if table.versus else {}
    return {"title": table.title, "better": better} | versus | {"rows": records(table), "notes": table.notes}
