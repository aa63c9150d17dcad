"""A report: the table of one experiment in a folder of results, with reference rows, a sentence and what is next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from synthbench.cards import RunnerCard
from synthbench.errors import BadInput
from synthbench.experiment.store import Store
from synthbench.reporting import reference, rows, sentence, table
from synthbench.reporting.reference import Reference
from synthbench.reporting.rows import Row
from synthbench.reporting.table import Table
from synthbench.wording import did_you_mean, shown


@dataclass(frozen=True)
class Report:
    """What one experiment showed. tasks: fingerprints by name. rows: measured ones first, then the reference's.

    versions: what the measured runs were made with.
    """

    experiment: str
    card: RunnerCard
    tasks: dict[str, str]
    command: str
    rows: list[Row]
    reference: Reference | None
    versions: dict[str, str]

    @property
    def table(self) -> Table:
        card = self.card
        notes = [
            "n seeds; mean ±half the 95 % interval (Student's t); div.: runs that diverged, of all rates and seeds; "
            "lr: best by validation" + (", ! at the edge of its grid." if any(r.edge for r in self.rows) else ".")
        ]
        if any(name.endswith("@fit") for name in card.columns):
            notes.append(
                f"@fit: read where fit first reaches {card.reading.fit:g}, at the rate that takes "
                f"{card.reading.speed} steps to it; other scores at the end, at the rate shown. Each optimizer "
                "finetunes what it pretrained itself, unless the row says otherwise."
            )
        if self.reference:
            notes.append(
                f"* reference rows shipped with synthbench: same task, card and code, recorded on "
                f"{self.reference.device}, torch {self.reference.versions['torch']}."
            )
        return table.make(f"{card.name}: {', '.join(self.tasks)}", self.rows, card.columns, notes)

    @property
    def sentence(self) -> str:
        return sentence.sentence(self.rows, self.card)

    @property
    def all_diverged(self) -> bool:
        """Whether there are measured rows and all runs of one of them diverged."""
        return any(row.lr is None for row in self.rows if not row.reference)


def latest(store: Store, runner: str | None = None, with_reference: bool = True) -> Report:
    """The report of the experiment that was used last (of a runner, if one is named); raises BadInput if there is none."""
    found = store.experiments()
    names = [json.loads(card)["name"] for _, card, _, _ in found]
    if not found:
        raise BadInput(
            f"--out {store.folder}: no experiment has been finished there; run: synthbench run --out {store.folder}"
        )
    if runner is not None and runner not in names:
        raise BadInput(
            f"--out {store.folder} has no results of runner {shown(runner)}{did_you_mean(runner, set(names))}."
        )
    experiment, text, tasks, command = found[names.index(runner) if runner else 0]
    card = RunnerCard.model_validate_json(text)
    fingerprints: dict[str, str] = json.loads(tasks)
    measured = rows.rows_of(store, experiment, card)
    together, source = reference.beside(measured, card, fingerprints) if with_reference else (measured, None)
    finished = store.results(store.members(experiment), paths=False)
    versions = dict(next(iter(finished.values())).versions) if finished else {}
    return Report(experiment, card, fingerprints, command, together, source, versions)


def markdown(report: Report) -> str:
    """A page: question, table, sentence, and what it was made with."""
    return "\n".join([f"# {report.card.name}", "", report.card.question, "", body(report)])


def body(report: Report) -> str:
    """The page without its head: what `--update` puts between a file's markers."""
    made = [
        f"Command: `{report.command}`",
        f"Device: {report.rows[0].device if report.rows else 'none'}",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in report.versions.items()),
        f"Card {report.card.name} {report.card.version}: {report.card.fingerprint()[:16]}; "
        + "; ".join(f"task {name}: {mark[:16]}" for name, mark in report.tasks.items()),
    ]
    return "\n".join(
        [
            table.as_markdown(report.table),
            "",
            report.sentence,
            "",
            *(f"- {line}" for line in made),
        ]
    )


def update(file: Path, name: str, content: str) -> None:
    """Puts content between a file's `<!-- BEGIN synthbench NAME -->` and `<!-- END synthbench NAME -->` markers.

    Raises BadInput where the file or the markers are missing; the file is replaced whole or not at all.
    """
    begin, end = f"<!-- BEGIN synthbench {name} -->", f"<!-- END synthbench {name} -->"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--update {file} cannot be read: {error}.") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise BadInput(f"--update {file}: it must have the lines {begin} and {end}, once each and in this order.")
    head, tail = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(f"{head}\n{content}\n{tail}", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise BadInput(f"--update {file} cannot be written: {error}.") from None
