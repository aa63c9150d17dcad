"""Two optimizers, two updates or two folders of results, compared row by row and score by score over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from synthbench.analysis import pairing, verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import holm
from synthbench.analysis.verdict import LEAST, Verdict
from synthbench.cards import RunnerCard
from synthbench.common.errors import BadInput
from synthbench.common.files import is_file, is_folder
from synthbench.common.wording import did_you_mean, listed, named, shown
from synthbench.plugins.loading import label
from synthbench.reporting import report as reports
from synthbench.reporting.report import Report
from synthbench.store.results import DATABASE, Store

OPTIONS = {"task": "--task", "label": "--optimizer", "update": "--update"}
ROWS = {"tasks", "optimizers", "seeds", "question", "cost"}  # of a card: what rows there are, and prose
WHAT = {"label": "optimizers", "update": "updates"}


class RowFilter(NamedTuple):
    """Which rows to compare: by task, optimizer and update; None for all of them."""

    task: Sequence[str] | None = None
    label: Sequence[str] | None = None
    update: Sequence[str] | None = None

    def kept(self, rows: Sequence[Row], compared: str | None) -> list[Row]:
        """The rows that are meant; raises BadInput for a name that no row has. compared: what the two sides differ in."""
        found = list(rows)
        for axis, names in self._asdict().items():
            if names is None:
                continue
            if axis == compared:
                raise BadInput(f"{OPTIONS[axis]} does not narrow a comparison of two {WHAT[axis]}.")
            known = dict.fromkeys(getattr(row, axis) for row in rows)
            if axis == "label":
                names = [pairing.of_optimizer(rows, name, OPTIONS[axis])[0].label for name in names]
            for name in names:
                if name not in known:
                    raise BadInput(f"{OPTIONS[axis]} {shown(name)} has no row here{did_you_mean(name, known)}.")
            found = [row for row in found if getattr(row, axis) in names]
        return found


class Finding(NamedTuple):
    """One score of one pair of rows. own, other: means over the seeds that both have, None where there are none.

    p_holm: the test's p-value adjusted for all tests of the comparison, None where there was none.
    """

    pair: Pair
    score: str
    own: float | None
    other: float | None
    verdict: Verdict
    p_holm: float | None


@dataclass(frozen=True)
class Comparison:
    """names: of the two sides. axis: what they are, `label` (optimizers), `update`, or None (folders). notes: sentences."""

    names: tuple[str, str]
    axis: str | None
    card: RunnerCard
    findings: list[Finding]
    notes: list[str]


def compare(
    one: str, other: str, out: Path, runner: str | None, narrow: RowFilter, columns: Sequence[str] | None
) -> Comparison:
    """Compares what two names mean: optimizers or updates of the last experiment in `out` (of a runner, if one is named),
    or else two folders. Raises BadInput where that is not clear, or where no rows can be paired."""
    if label(one) == label(other):
        raise BadInput(f"compare: {shown(one)} is named twice; name two different ones.")
    folders = is_folder(Path(one)) and is_folder(Path(other))
    if folders and not is_file(out / DATABASE):
        return _across(Path(one), Path(other), runner, narrow, columns)
    report = _report(out, runner)
    known = {name for row in report.rows for name in (row.label, row.optimizer, row.update)}
    if folders and not {label(one), label(other)} <= known:
        return _across(Path(one), Path(other), runner, narrow, columns)
    return inside(report, one, other, narrow, columns)


def _report(folder: Path, runner: str | None, with_reference: bool = True) -> Report:
    with closing(Store.read(folder)) as store:
        return reports.latest(store, runner, with_reference)


def inside(report: Report, one: str, other: str, narrow: RowFilter, columns: Sequence[str] | None) -> Comparison:
    """Two optimizers or two updates of one experiment."""
    one, other = label(one), label(other)
    axis = _axis(report.rows, one, other)
    rows = narrow.kept(report.rows, axis)
    if axis == "update":
        sides = [[row for row in rows if row.update == name] for name in (one, other)]
    else:
        sides = [pairing.of_optimizer(rows, name, "compare:") for name in (one, other)]
        one, other = (side[0].label for side in sides)
    notes = []
    if used := dict.fromkeys(row.label for side in sides for row in side if row.reference):
        notes.append(f"Rows of {listed(used)} are reference rows shipped with synthbench.")
    return _compared((one, other), axis, report.card, sides, columns, notes)


def _axis(rows: Sequence[Row], one: str, other: str) -> str:
    """What two names are; raises BadInput for one that is nothing here, and for two of different kinds."""
    updates = dict.fromkeys(row.update for row in rows)
    labels = dict.fromkeys(row.label for row in rows)
    for name in (one, other):
        if name not in {*labels, *updates, *(row.optimizer for row in rows)}:
            hint = did_you_mean(name, [*labels, *updates])
            raise BadInput(f"compare: {shown(name)} is neither an optimizer nor an update of these results{hint}.")
    if (one in updates) is not (other in updates):
        raise BadInput(
            f"compare: {shown(one)} and {shown(other)} are an optimizer and an update; name two optimizers "
            f"({listed(labels)}) or two updates ({listed(updates)})."
        )
    return "update" if one in updates else "label"


def _across(one: Path, other: Path, runner: str | None, narrow: RowFilter, columns: Sequence[str] | None) -> Comparison:
    """The same runner's rows of two folders."""
    first = _report(one, runner, with_reference=False)
    second = _report(other, first.card.name, with_reference=False)
    sides = [narrow.kept(report.rows, None) for report in (first, second)]
    for task in dict.fromkeys(row.task for row in sides[0]):
        marks = first.tasks.get(task), second.tasks.get(task)
        if None not in marks and marks[0] != marks[1]:
            raise BadInput(
                f"compare: task {named(task)} is another one in {named(one)} (fingerprint {str(marks[0])[:12]}) than in "
                f"{named(other)} ({str(marks[1])[:12]}), so nothing compares."
            )
    named_alike = one.name == other.name or not one.name or not other.name
    names = (str(one), str(other)) if named_alike else (one.name, other.name)
    notes = [f"{names[0]}: {_made(one, first)}.", f"{names[1]}: {_made(other, second)}."]
    content = [report.card.model_dump(mode="json", by_alias=True, exclude=ROWS) for report in (first, second)]
    if differing := [key for key in content[0] if content[0][key] != content[1].get(key)]:
        notes.append(f"Their cards differ in {listed(differing)}; readings and margins are those of {names[0]}.")
    return _compared(names, None, first.card, sides, columns, notes)


def _made(folder: Path, report: Report) -> str:
    """Where rows are and what they were made with."""
    versions = [f"{name} {number}" for name, number in report.versions.items() if name in ("synthbench", "torch")]
    return ", ".join([str(folder), *versions, *dict.fromkeys(row.device for row in report.rows)])


def _compared(
    names: tuple[str, str], axis: str | None, card: RunnerCard, sides: Sequence[Sequence[Row]],
    columns: Sequence[str] | None, notes: list[str],
) -> Comparison:  # fmt: skip
    """Every score of every pair; raises BadInput where no rows can be paired."""
    paired = [(row, pairing.counterpart(row, sides[1], apart_from=axis)) for row in sides[0]]
    pairs = [Pair(row, other) for row, other in paired if other]
    if not pairs:
        raise BadInput(f"compare: no row of {named(names[0])} has one of {named(names[1])} that is like it otherwise.")
    if alone := [f"{row.task} {row.label} {row.update}" for row, other in paired if not other]:
        notes.append(f"Without a counterpart: {listed(alone)}.")
    verdicts = [(pair, name, verdict.of(pair, name, card)) for pair in pairs for name in columns or card.columns]
    adjusted = iter(holm([one.p for _, _, one in verdicts if one.found.n >= LEAST]))
    findings = [
        Finding(pair, name, *_means(pair, name), one, next(adjusted) if one.found.n >= LEAST else None)
        for pair, name, one in verdicts
    ]
    return Comparison(names, axis, card, findings, [*_meaning(names, card, findings), *notes])


def _means(pair: Pair, name: str) -> tuple[float | None, float | None]:
    values = pair.row.exact(name), pair.other.exact(name)
    seeds = values[0].keys() & values[1].keys()
    return (
        (fmean(values[0][seed] for seed in seeds), fmean(values[1][seed] for seed in seeds)) if seeds else (None, None)
    )


def _meaning(names: tuple[str, str], card: RunnerCard, findings: Sequence[Finding]) -> list[str]:
    """What the numbers are."""
    notes = [
        f"n seeds that both rows have; means over them; difference: {names[0]} - {names[1]}, paired over seeds, ±half its "
        "95 % interval (Student's t)."
    ]
    if any(finding.score.endswith("@fit") for finding in findings):
        notes.append(
            f"@fit: read where fit first reaches {card.reading.fit:g}, at the rate that takes {card.reading.target_step} steps "
            "to it; other scores at the end, at the chosen rate."
        )
    decided = [one for one in findings if one.verdict.found.excludes_zero and one.p_holm is not None]
    if decided:
        tests = sum(one.p_holm is not None for one in findings)
        kept = sum(one.p_holm is not None and one.p_holm < verdict.LEVEL for one in decided)
        notes.append(
            f"Each verdict stands alone. Intervals that exclude 0: {len(decided)}; under Holm's correction for all {tests} "
            f"tests here: {kept}."
        )
    return notes
