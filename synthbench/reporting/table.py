"""The table of a report: rows summarized once, written in many formats with equal numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import fmean
from typing import Any

from synthbench.analysis.pairing import AXES, Pair, contrast, is_paired, on
from synthbench.analysis.ranks import Rank
from synthbench.analysis.rows import Row, applies, on_axis
from synthbench.analysis.statistics import Interval, difference, interval
from synthbench.cards.axis import Value, value_text
from synthbench.common.wording import delimited, inert, literal, short
from synthbench.reporting.bounds import within
from synthbench.scores import SCORES
from synthbench.scores.reading import Reached, median

DIGITS = 4  # kept of every number, in every format
ROUNDING = 2.5e-4  # more than that moves the difference between the halves of an interval
SHOWN = 2  # of these in text
ARROWS = {"up": "↑", "down": "↓", "-": ""}
WIDEST = 40  # characters of a name in a table
NAMES = ("task", "optimizer", "update", "decay")  # columns that name a row, beside its axes: the first ones
# Columns of exports that are not called as what they hold, for `frame.update` and `frame.size` are pandas' own.
COLUMNS = {"label": "optimizer", "update": "trainable", "size": "data_size"}
NARROWEST = {"task": 12, "optimizer": 9}  # least widths of columns whose long names are folded
EXPOSURE = "base exposure"
BASE = {"facts": "fact_recall", "rule": "rule_accuracy", "loss": "validation_loss"}  # of pretrained models
CEILING = 0.95  # share of the bits in the data


def rounded(value: float | None) -> float | None:
    """A number without a negative zero; None where there is none."""
    return None if value is None or not isfinite(value) else round(value, DIGITS) + 0.0


def signed(value: float, digits: int = SHOWN) -> str:
    return f"{value:+z.{digits}f}"


@dataclass(frozen=True)
class Entry:
    """A number of a table: mean and 95 % interval over n seeds, within the score's range. signed: whether it shows its
    sign, as differences do.

    censored: None for a mean; for a median (n: seeds that are no bounds) `>` or `<` where it is a bound, else empty.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    signed: bool = False
    censored: str | None = None

    @classmethod
    def of(cls, mean: Interval, name: str, *, signed: bool = False) -> Entry:
        """The mean of a score, or, signed, of its differences."""
        mean = within(mean, name, of_difference=signed)
        return cls(rounded(mean.mean), rounded(mean.low), rounded(mean.high), mean.n, signed)

    @property
    def is_cut(self) -> bool:
        """Whether the score's range cuts the interval so that text shows it: by more than rounding can, too."""
        if self.mean is None or self.low is None or self.high is None:
            return False
        below, above = self.mean - self.low, self.high - self.mean
        return abs(above - below) > ROUNDING and f"{above:.{SHOWN}f}" != f"{below:.{SHOWN}f}"

    def text(self, expected: int) -> str:
        """`0.52 ±0.09`, or `0.57 [0.10, 1.00]` where its range cuts it, with its n where that is not the expected one."""
        if self.mean is None:
            return "not reached" if expected else "diverged"
        if self.censored is not None:
            return f"{self.censored}{self.mean:.0f} ({self.n}/{expected})"
        mean, low, high = ("" if number is None else self._shown(number) for number in (self.mean, self.low, self.high))
        spread = "" if self.low is None else f" ±{round(self.mean - self.low, DIGITS):.{SHOWN}f}"
        return mean + (f" [{low}, {high}]" if self.is_cut else spread) + (f" n={self.n}" if self.n != expected else "")

    def _shown(self, number: float) -> str:
        return signed(number) if self.signed else f"{number:z.{SHOWN}f}"


@dataclass(frozen=True)
class Table:
    """Rows under fixed columns and scores; notes explain marks.

    ranks: by row in the score `ranked_by`, None for a table without them. versus: the optimizer to whose rows (`rivals`:
    by row, None where there is none) the entries are differences.
    """

    rows: Sequence[Row]
    scores: Sequence[str]
    title: str = ""
    notes: Sequence[str] = ()
    ranks: Sequence[Rank | None] | None = None
    ranked_by: str = ""
    versus: str | None = None
    has_trials: bool = False
    rivals: Sequence[Row | None] = ()

    @property
    def labels(self) -> list[str]:
        """The axes that some rows are on."""
        return list(dict.fromkeys(label for row in self.rows for label in row.axes))

    def fixed(self) -> dict[str, list[str]]:
        """The columns before the scores: name and cells. Tasks and weight decays only where they differ."""
        rows = self.rows
        labels, bases = self.labels, [base(row) for row in rows]
        columns = {
            "task": [row.task for row in rows],
            "optimizer": [row.label + "*" * row.reference for row in rows],
            "update": [row.movable for row in rows],
            **{label: [value_or_dash(row.axes.get(label)) for row in rows] for label in labels},
            "decay": [row.decay for row in rows],
            **{f"base {name}": [one[name] for one in bases] for name in BASE},
            EXPOSURE: ["-" if row.start_exposure is None else f"{row.start_exposure:.2g}" for row in rows],
            "rank": [str(rank or "-") for rank in self.ranks or ()],
            "behind": [self._behind(index) for index in range(len(self.ranks or ()))],
            "trials": ["x".join(map(str, row.trials)) or "?" for row in rows],
            "lr": [_rate(row) for row in rows],
            "n": [str(len(row.seeds)) for row in rows],
            "diverged": [f"{row.diverged}/{row.runs}" for row in rows],
        }
        unneeded = {name for name in ("task", "decay") if name not in labels and len(set(columns[name])) <= 1}
        unneeded |= set() if _differ(rows, "start") else {f"base {name}" for name in BASE}
        unneeded |= set() if _differ(rows, "start_exposure") else {EXPOSURE}
        unneeded |= {"rank", "behind"} if self.ranks is None else set()
        unneeded |= set() if self.has_trials else {"trials"}
        return {name: cells for name, cells in columns.items() if name not in unneeded}

    def heads(self) -> list[str]:
        return [*self.fixed(), *(f"{name} {ARROWS[SCORES[name].better]}".strip() for name in self.scores)]

    def cells(self) -> list[list[str]]:
        """Every row as text."""
        names = [[short(inert(cell), WIDEST) for cell in cells] for cells in self.fixed().values()]
        scores = [[self._text(index, name) for index in range(len(self.rows))] for name in self.scores]
        return [list(cells) for cells in zip(*names, *scores, strict=True)]

    def entry(self, index: int, name: str) -> Entry:
        """A score of a row, or its difference to that of the rival."""
        row = self.rows[index]
        if self.versus is not None:
            rival = self.rivals[index]
            return Entry.of(difference(contrast([Pair(row, rival)], name)), name, signed=True) if rival else Entry()
        values, marks = row.values.get(name, {}), row.censored.get(name, {})
        if not name.endswith("@t"):
            return Entry.of(interval([*values.values()]), name)
        middle = median([Reached(value, marks.get(seed, "")) for seed, value in values.items()])
        return Entry(rounded(middle.value), n=len(row.exact(name)), censored=middle.censored) if middle else Entry()

    def behind(self, index: int) -> Entry:
        """How far a row is behind the best one."""
        rank = self.ranks[index] if self.ranks else None
        return Entry.of(rank.behind, self.ranked_by, signed=True) if rank and rank.behind else Entry()

    def _behind(self, index: int) -> str:
        entry = self.behind(index)
        return "-" if entry.mean is None else entry.text(len(self.rows[index].seeds))

    @property
    def has_cuts(self) -> bool:
        """Whether an interval is cut."""
        return any(self.entry(index, name).is_cut for index in range(len(self.rows)) for name in self.scores)

    def _text(self, index: int, name: str) -> str:
        row, rival = self.rows[index], self.rivals[index] if self.versus else None
        if not applies(name, row) or (self.versus and not rival):
            return "-"
        diverged = row.lr is None or (rival is not None and rival.lr is None)
        text = self.entry(index, name).text(0 if diverged else len(row.seeds))
        return f"{text} ceiling" if name == "bits_per_param" and not self.versus and _at_ceiling(row) else text


def base(row: Row) -> dict[str, str]:
    """How well the models that a row starts from know their pretraining language: means over seeds, as text."""
    means = {name: row.start.get(score) for name, score in BASE.items()}
    return {name: f"{fmean(by_seed.values()):.3g}" if by_seed else "-" for name, by_seed in means.items()}


def _rounded_mean(values: Mapping[int, float] | None) -> float | None:
    return rounded(fmean(values.values())) if values else None


def _differ(rows: Sequence[Row], what: str) -> bool:
    """Whether rows that are alike but for the axes start from models that differ in this."""
    first: dict[tuple[str, ...], Row] = {}
    alike = ((first.setdefault((row.task, row.label, row.update), row), row) for row in rows)
    return any(getattr(row, what) != getattr(other, what) for row, other in alike)


def value_or_dash(value: Value | None) -> str:
    """A value on an axis; a dash where a row is not on it."""
    return "-" if value is None else value_text(value)


def _rate(row: Row) -> str:
    if row.lr is None:
        return "-"
    return "own" if row.own_rate else f"{row.lr:.3g}" + "!" * row.edge


def _at_ceiling(row: Row) -> bool:
    """Whether a row stores nearly all bits of its facts."""
    stored, held = (row.values.get(name, {}) for name in ("bits_per_param", "dataset_bits_per_param"))
    return bool(stored and held) and fmean(stored.values()) >= CEILING * fmean(held.values())


def row_name(
    row: Row, rows: Sequence[Row], *, always: Sequence[str] = ("label", "update"), apart_from: str | None = None,
    between: str = " ",
) -> str:  # fmt: skip
    """A row by its values on the axes in which rows differ. always: axes that are named although they do not."""
    texts = []
    for axis in (*AXES, *row.axes):
        differs = axis != apart_from and len({on(other, axis) for other in rows}) > 1
        if differs or axis in always:
            texts.append(str(on(row, axis)) if axis in AXES else on_axis(axis, row.axes[axis]))
    return between.join(texts)


def _broken(head: str) -> str:
    """The head of a score in two or three lines."""
    return head.replace("@fit", "\n@fit").replace("@steps", "\n@steps").replace("_", "\n", 1)


def as_rich(table: Table) -> Any:
    """For a terminal: scores in two- or three-line heads, in as many tables one below the other as the width takes."""
    from synthbench.reporting.terminal_table import Column, Drawing, interval_width

    heads, fixed, names = table.heads(), len(table.fixed()), {*NAMES, *table.labels}
    cells = list(zip(*table.cells(), strict=True)) or [()] * len(heads)
    # So the five scores of the runner `quick` fit 100 columns.
    cells[fixed:] = [tuple(text.replace(", ", ",") for text in texts) for texts in cells[fixed:]]
    columns = [
        Column(_broken(head), texts, head not in names, NARROWEST.get(head) or interval_width(texts), head in names)
        for head, texts in zip(heads, cells, strict=True)
    ]
    count = sum(head in names for head in heads)
    groups = [(row.task, row.label) for row in table.rows]
    changes = [index for index, (before, after) in enumerate(pairwise(groups)) if before != after]
    breaks = changes if len(changes) < len(set(groups)) else []
    return Drawing(columns[:count], columns[count:], breaks, [row.reference for row in table.rows])


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
    """One flat dictionary a row, with the bounds of every interval."""
    lines = []
    for index, row in enumerate(table.rows):
        record: dict[str, Any] = {
            "task": row.task, "base": "/".join(row.base), "optimizer": row.optimizer, "trainable": row.update,
            **{COLUMNS.get(label, label): value for label, value in row.axes.items()},
            **{f"base_{name}": _rounded_mean(row.start.get(score)) for name, score in BASE.items()},
            "base_exposure": rounded(row.start_exposure),
            "data_size": row.size, "weight_decay": row.weight_decay, "decay": row.decay, "lr": row.lr,
            "own_rate": row.own_rate, "edge": row.edge, "trials": "x".join(map(str, row.trials)),
            "n": len(row.seeds), "runs": row.runs, "diverged": row.diverged,
            "reference": row.reference, "device": row.device,
        }  # fmt: skip
        if table.ranks is not None:
            rank, behind = table.ranks[index], table.behind(index)
            record |= {"rank_first": rank.first if rank else None, "rank_last": rank.last if rank else None}
            record |= {"behind": behind.mean, "behind_low": behind.low, "behind_high": behind.high}
        if table.versus:
            rival = table.rivals[index]
            record["versus"] = rival.label if rival else None
            record["paired"] = is_paired([Pair(row, rival)]) if rival else None
        for name in table.scores:
            entry = table.entry(index, name)
            record |= {name: entry.mean, f"{name}_low": entry.low, f"{name}_high": entry.high, f"{name}_n": entry.n}
            record |= {f"{name}_bound": entry.censored or ""} if name.endswith("@t") else {}
        lines.append(record)
    return lines


def as_csv(table: Table) -> str:
    return separated(records(table))


def separated(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flat dictionaries as CSV; tables and lists in them as JSON."""
    return "\n".join(csv_lines(rows, dict.fromkeys(key for row in rows for key in row)))


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None) -> Iterator[str]:
    """The same row by row, each without its line's end. columns: by default those of the first row."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row if columns is None else columns), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: json.dumps(value) if isinstance(value, dict | list) else delimited(value)
                         for key, value in row.items()})  # fmt: skip
        yield text.getvalue().removesuffix("\n")
        text.seek(0)
        text.truncate()


def content(table: Table) -> dict[str, Any]:
    """The table as one object, for JSON."""
    better = {name: SCORES[name].better for name in table.scores}
    versus = {"versus": table.versus} if table.versus else {}
    return {"title": table.title, "better": better} | versus | {"rows": records(table), "notes": list(table.notes)}
