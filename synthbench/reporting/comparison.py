"""Two optimizers, two updates or two folders of results, compared row by row and score by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from synthbench.analysis import pairing, verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.verdict import Finding
from synthbench.cards import RunnerCard
from synthbench.cards.axis import value_text
from synthbench.common.errors import BadInput
from synthbench.common.files import is_file, is_folder
from synthbench.common.wording import check_choice, listed, named, shown
from synthbench.reporting import notes
from synthbench.reporting import report as reports
from synthbench.reporting.report import Report
from synthbench.reporting.sentence import to_compare
from synthbench.reporting.table import Entry
from synthbench.store.results import DATABASE

OPTIONS = {"task": "--task", "label": "--optimizer", "update": "--update"}
ROWS = {"tasks", "optimizers", "seeds", "question", "cost"}  # of a card: what rows there are, and prose
WHAT = {"label": "optimizers", "update": "updates"}


class RowFilter(NamedTuple):
    """Which rows to compare: by task, optimizer and update; None for all of them."""

    task: Sequence[str] | None = None
    label: Sequence[str] | None = None
    update: Sequence[str] | None = None

    def kept(self, rows: Sequence[Row], compared: str | None) -> list[Row]:
        """The rows to compare; raises BadInput for a name that no row has. compared: what the two sides differ in."""
        kept = list(rows)
        for axis, names in self._asdict().items():
            if names is None:
                continue
            if axis == compared:
                raise BadInput(f"{OPTIONS[axis]} does not narrow a comparison of two {WHAT[axis]}.")
            if axis == "label":
                names = [pairing.of_optimizer(rows, name, OPTIONS[axis])[0].label for name in names]
            for name in names:
                check_choice(OPTIONS[axis], name, dict.fromkeys(getattr(row, axis) for row in rows))
            kept = [row for row in kept if getattr(row, axis) in names]
        return kept


@dataclass(frozen=True)
class Comparison:
    """names: of the two sides. axis: what they are, `label` (optimizers), `update`, or None (folders). notes: sentences."""

    names: tuple[str, str]
    axis: str | None
    card: RunnerCard
    findings: list[Finding]
    notes: list[str]


def compare(
    first: str, second: str, out: Path, runner: str | None, narrow: RowFilter, columns: Sequence[str] | None
) -> Comparison:
    """Compares what two names mean: optimizers or updates of the last experiment in `out` (of a runner, if one is named),
    or else two folders. Raises BadInput where that is not clear, or where no rows can be paired."""
    if first == second:
        raise BadInput(f"compare: {shown(first)} is named twice; name two different ones.")
    folders = is_folder(Path(first)) and is_folder(Path(second))
    if not folders or is_file(out / DATABASE):
        report = reports.of_folder(out, runner)
        known = _known(report.rows)
        if not folders or {pairing.meant(first, known), pairing.meant(second, known)} <= known:
            return inside(report, first, second, narrow, columns)
    return _across((Path(first), Path(second)), runner, narrow, columns)


def inside(report: Report, first: str, second: str, narrow: RowFilter, columns: Sequence[str] | None) -> Comparison:
    """Two optimizers or two updates of one experiment."""
    known = _known(report.rows)
    names = pairing.meant(first, known), pairing.meant(second, known)
    if names[0] == names[1]:
        raise BadInput(f"compare: {shown(first)} is named twice; name two different ones.")
    axis = _axis(report.rows, *names)
    rows = narrow.kept(report.rows, axis)
    if axis not in WHAT:
        sides = [[row for row in rows if place(row, axis) == name] for name in names]
    elif axis == "update":
        sides = [[row for row in rows if row.update == name] for name in names]
    else:
        sides = [pairing.of_optimizer(rows, name, "compare:") for name in names]
        names = sides[0][0].label, sides[1][0].label
    starred = dict.fromkeys(row.label for side in sides for row in side if row.reference)
    remarks = [f"Rows of {listed(starred)} are reference rows shipped with synthbench."] if starred else []
    return compared(names, axis, report.card, sides, columns, remarks)


def _known(rows: Sequence[Row]) -> set[str]:
    """What a side of a comparison may be."""
    names = {name for row in rows for name in (row.label, row.optimizer, row.update)}
    return names | {place(row, label) for row in rows for label in row.axes}


def _axis(rows: Sequence[Row], first: str, second: str) -> str:
    """What two names are, for values on an axis its label; raises BadInput for one that is nothing here, and for two of
    different kinds."""
    places = {place(row, label): label for row in rows for label in row.axes}
    if {first, second} & places.keys() or "=" in first + second:
        for name in (first, second):
            check_choice("compare: value on an axis", name, places)
        if places[first] != places[second]:
            raise BadInput(f"compare: {shown(first)} and {shown(second)} are on two axes; name two values of one.")
        return places[first]
    updates = dict.fromkeys(row.update for row in rows)
    labels = dict.fromkeys(row.label for row in rows)
    for name in (first, second):
        if name not in {row.optimizer for row in rows}:
            check_choice("compare: optimizer or update", name, [*labels, *updates])
    if (first in updates) is not (second in updates):
        raise BadInput(
            f"compare: {shown(first)} and {shown(second)} are an optimizer and an update; name two optimizers "
            f"({listed(labels)}) or two updates ({listed(updates)})."
        )
    return "update" if first in updates else "label"


def place(row: Row, label: str) -> str:
    """A row's value on an axis as `compare` takes it, `size=0.5`; empty where it is not on it."""
    return f"{label}={value_text(row.axes[label])}" if label in row.axes else ""


def _across(
    folders: tuple[Path, Path], runner: str | None, narrow: RowFilter, columns: Sequence[str] | None
) -> Comparison:
    """The same runner's rows of two folders."""
    first = reports.of_folder(folders[0], runner, with_reference=False)
    second = reports.of_folder(folders[1], first.card.name, with_reference=False)
    sides = [narrow.kept(report.rows, None) for report in (first, second)]
    for task in dict.fromkeys(row.task for row in sides[0]):
        here, there = first.tasks.get(task), second.tasks.get(task)
        if here and there and here != there:
            raise BadInput(
                f"compare: task {named(task)} differs: fingerprint {here[:12]} in {named(folders[0])}, {there[:12]} in "
                f"{named(folders[1])}; nothing compares across fingerprints."
            )
    is_clear = folders[0].name != folders[1].name and folders[0].name and folders[1].name
    names = (folders[0].name, folders[1].name) if is_clear else (str(folders[0]), str(folders[1]))
    remarks = [f"{names[0]}: {_made(folders[0], first)}.", f"{names[1]}: {_made(folders[1], second)}."]
    content = [report.card.model_dump(mode="json", by_alias=True, exclude=ROWS) for report in (first, second)]
    if differing := [key for key in content[0] if content[0][key] != content[1].get(key)]:
        remarks.append(f"Their cards differ in {listed(differing)}; readings and margins are those of {names[0]}.")
    return compared(names, None, first.card, sides, columns, remarks)


def _made(folder: Path, report: Report) -> str:
    """Where rows are and what they were made with."""
    versions = [f"{name} {number}" for name, number in report.versions.items() if name in ("synthbench", "torch")]
    return ", ".join([str(folder), *versions, *dict.fromkeys(row.device for row in report.rows)])


def compared(
    names: tuple[str, str], axis: str | None, card: RunnerCard, sides: Sequence[Sequence[Row]],
    columns: Sequence[str] | None, remarks: Sequence[str],
) -> Comparison:  # fmt: skip
    """Two sides compared in these columns, else the card's; raises BadInput where no rows can be paired."""
    scores = columns or card.columns
    paired = [(row, pairing.counterpart(row, sides[1], apart_from=axis)) for row in sides[0]]
    pairs = [Pair(row, other) for row, other in paired if other]
    if not pairs:
        raise BadInput(f"compare: no row of {named(names[0])} has one of {named(names[1])} that is like it otherwise.")
    findings = verdict.findings(pairs, scores, card)
    has_cuts = any(Entry.of(found.verdict.difference, found.score, signed=True).is_cut for found in findings)
    means = f"means over the n seeds of both rows; difference: {names[0]} - {names[1]}, {notes.spread(has_cuts)}"
    lines = [means, *notes.at_fit(scores, card), notes.COLUMNS, *_holm(findings), *remarks]
    lines += notes.devices([row for pair in pairs if not pairing.is_paired([pair]) for row in pair])
    if remedy := to_compare([found.pair for found in findings], [found.verdict for found in findings], card):
        lines.append(remedy)
    if alone := [row for row, other in paired if not other]:
        lines.append(f"Without a counterpart: {listed(f'{row.task} {row.label} {row.update}' for row in alone)}.")
    return Comparison(names, axis, card, findings, lines)


def _holm(findings: Sequence[Finding]) -> list[str]:
    """How many of the intervals that exclude 0 would still do so if all tests were corrected for."""
    tests = [(p, finding.verdict.difference) for finding in findings if (p := finding.p_holm) is not None]
    decided = [p for p, difference in tests if difference.excludes_zero]
    kept = sum(p < verdict.LEVEL for p in decided)
    return [
        f"Each verdict stands alone. Intervals that exclude 0: {len(decided)}; after Holm's correction for {len(tests)} "
        f"tests: {kept}."
    ] * bool(decided)
