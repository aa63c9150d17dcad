"""A report: the table of one experiment in a folder of results, with reference rows, a sentence and what is next."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from synthbench.analysis import rate_advice, reference, rows, tiers
from synthbench.analysis.claims import REFUTED, Answer, answers
from synthbench.analysis.cost import Spent, spent
from synthbench.analysis.reference import Reference
from synthbench.analysis.rows import Row, Stopped
from synthbench.cards import RunnerCard
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured, Refuted
from synthbench.common.wording import code, did_you_mean, inert, literal, named, prose, shown
from synthbench.reporting import claim_answers, sentence, table
from synthbench.reporting.run_notes import given
from synthbench.reporting.table import Table
from synthbench.reporting.view import AS_IT_IS, View
from synthbench.store.results import Store

NOTHING = Spent()
MOST_BYTES = 2**24  # of a page that a table is put into


@dataclass(frozen=True)
class Report:
    """What one experiment showed. tasks: fingerprints by name. rows: measured ones first, then the reference's.

    versions: what the measured runs were made with. finished: whether all runs are done. stopped: what could not start.
    remarks: what a terminal says beside the notes: what the rows were given, what is left out. advice: which rates to add
    where rows are read at no target_step. view: how the rows are shown. folder: where the results
    are. spent: what the measured runs took.
    """

    experiment: str
    card: RunnerCard
    tasks: dict[str, str]
    command: str
    rows: list[Row]
    reference: Reference | None
    versions: dict[str, str]
    finished: bool = True
    stopped: Sequence[Stopped] = ()
    remarks: Sequence[str] = ()
    advice: Sequence[str] = ()
    view: View = AS_IT_IS
    folder: Path | None = None
    spent: Spent = NOTHING

    @property
    def table(self) -> Table:
        card, shown_rows = self.card, self.view.ordered(self.rows)
        ranks = card.tier is not None and len(card.seed_list) >= tiers.LEAST_SEEDS
        return table.make(
            f"{card.name}: {', '.join(self.tasks)}", shown_rows, self.view.scores(card), _notes(self),
            tiers.tiers(shown_rows, str(card.tier), card.seed_list) if ranks else None,
            self.view.versus, self.view.rivals(shown_rows),
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """What the rows show: what became of the claims, or of two optimizers on the first task."""
        return claim_answers.summary(self.claims) if self.claims else inert(sentence.sentence(self.rows, self.card))

    @property
    def claims(self) -> list[Answer]:
        """What became of the card's claims; nothing where these rows say nothing of any of them."""
        found = answers(self.card, self.rows)
        return found if any(one.tasks for one in found) else []

    @property
    def all_diverged(self) -> bool:
        """Whether all runs of a measured row of the card's optimizers diverged, or all that it would have started from."""
        own = set(self.card.optimizers)
        without_rate = any(
            row.lr is None for row in self.rows if not row.reference and (*row.base, row.optimizer)[0] in own
        )
        return without_rate or any(one.entirely for one in self.stopped if one.optimizer in own)


def _notes(report: Report) -> list[str]:
    """What the table's marks mean, and what is missing."""
    card, view, reference = report.card, report.view, report.reference
    notes = [
        "n seeds; mean ±half the 95 % interval (Student's t); div.: runs that diverged, of all rates and seeds; "
        "lr: best by validation" + (", ! at the edge of its grid." if any(r.edge for r in report.rows) else ".")
    ]
    if view.versus:
        notes.append(
            f"Scores are differences to the row of {view.versus} with the same task and update, paired over seeds; "
            f"- stands for {view.versus} itself and where it has no such row."
        )
    several = len({row.size for row in report.rows}) > 1
    if any(name.endswith("@fit") for name in view.scores(card)):
        notes.append(
            f"@fit: read where fit first reaches {card.reading.fit:g}, at the rate that takes "
            f"{card.reading.target_step} steps to it{' (in proportion to the size)' * several}, on {card.reading.sample} items "
            "of a set at most; other scores at the end, at the rate shown, on all items. Each optimizer finetunes what it "
            "pretrained itself, unless the row says otherwise."
        )
    if card.tier:
        notes += tiers.notes(report.rows, card, report.command, report.folder)
    if reference:
        notes.append(
            f"* reference rows shipped with synthbench: same task, card and code, recorded on "
            f"{reference.device}, torch {reference.versions['torch']}."
        )
    notes += [one.said for one in report.stopped]
    if not report.finished:
        notes.append("Unfinished: the rows hold what was done so far; the same command goes on from there.")
    return notes


def of_folder(
    folder: Path, runner: str | None = None, *, with_reference: bool = True, experiment: str | None = None
) -> Report:
    """`latest`, of the store in a folder."""
    with closing(Store.read(folder)) as store:
        return latest(store, runner, with_reference, experiment)


def latest(
    store: Store, runner: str | None = None, with_reference: bool = True, experiment: str | None = None
) -> Report:
    """The report of the experiment that was used last (of a runner, if one is named), or of the one whose id is given;
    raises BadInput if there is none."""
    known = store.experiments()
    names = [json.loads(one.card)["name"] for one in known]
    if not known:
        raise BadInput(
            f"--out {named(store.folder)}: no experiment has been finished there; run: synthbench run with this --out."
        )
    if runner is not None and runner not in names:
        raise BadInput(
            f"--out {named(store.folder)} has no results of runner {shown(runner)}{did_you_mean(runner, set(names))}."
        )
    recorded = known[names.index(runner) if runner else 0]
    if experiment is not None:
        recorded = next(one for one in known if one.id == experiment)
    card = RunnerCard.model_validate_json(recorded.card)
    fingerprints: dict[str, str] = json.loads(recorded.tasks)
    found = rows.found_in(store, recorded.id)
    measured = rows.rows_of(found, card)
    together, source = reference.beside(measured, card, fingerprints) if with_reference else (measured, None)
    remarks = given(measured, found, card)
    if with_reference and source is None and (missing := reference.left_out(measured, card, fingerprints)):
        remarks.append(missing)
    versions = {name: number for one in found.results.values() for name, number in one.versions.items()}
    return Report(
        recorded.id, card, fingerprints, recorded.command, together, source, versions,
        recorded.finished, rows.stopped(found, card), remarks, rate_advice.advice(found, card), folder=store.folder,
        spent=spent(found.results.values()),
    )  # fmt: skip


def markdown(report: Report, figures: Sequence[str] = ()) -> str:
    """A page: question, table, sentence, figures (lines of markdown), and what it was made with."""
    return "\n".join([f"# {report.card.name}", "", literal(prose(report.card.question)), "", body(report, figures)])


def body(report: Report, figures: Sequence[str] = ()) -> str:
    """The page without its head: what `--update` puts between a file's markers."""
    made = [
        f"Command: {code(report.command)}",
        f"Device: {literal(report.rows[0].device) if report.rows else 'none'}",
        "Versions: " + ", ".join(literal(f"{name} {number}") for name, number in report.versions.items()),
        *([f"Time: {report.spent.said}"] if report.spent.runs else []),
        f"Card {report.card.name} {report.card.version}: {report.card.fingerprint()[:16]}; "
        + "; ".join(f"task {name}: {mark[:16]}" for name, mark in report.tasks.items()),
    ]
    return "\n".join(
        [
            table.as_markdown(report.table),
            "",
            literal(report.sentence),
            "",
            *(["**Claims**", "", *claim_lines(report), ""] if report.claims else []),
            *figures,
            *(f"- {line}" for line in made),
        ]
    )


def assert_claims(report: Report) -> None:
    """Raises Refuted that names the claims which the rows refute, NotMeasured where they say nothing of some."""
    numbers: dict[bool, list[str]] = {True: [], False: []}
    for place, one in enumerate(report.claims or answers(report.card, report.rows), start=1):
        if one.kind in REFUTED or one.kind == "not measured":
            numbers[one.kind in REFUTED].append(f"{place}")
    if not report.card.claims:
        raise BadInput(f"--assert-claims: the card of {named(report.card.name)} makes no claims.")
    if numbers[True]:
        raise Refuted(f"Refuted: claim {', '.join(numbers[True])} of {report.card.name}.")
    if numbers[False]:
        raise NotMeasured(f"Not measured: claim {', '.join(numbers[False])} of {report.card.name}.")


def claim_lines(report: Report) -> list[str]:
    """The claims and what became of them, in markdown; those that these rows say nothing of, too."""
    return [
        claim_answers.NOTE,
        "",
        *claim_answers.lines(report.claims or answers(report.card, report.rows), report.folder),
    ]


def as_json(report: Report) -> str:
    """The table, what became of the claims, and what the measured runs were made with."""
    answered = {"claims": claim_answers.records(report.claims)} if report.claims else {}
    made = {"versions": report.versions}
    return json.dumps(table.content(report.table) | answered | made, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Report], str]] = {
    "markdown": markdown,
    "claims": lambda report: "\n".join(claim_lines(report)),
    "csv": lambda report: table.as_csv(report.table),
    "json": as_json,
    "latex": lambda report: table.as_latex(report.table),
}


def update(file: Path, name: str, content: str) -> None:
    """Puts content between a file's lines `<!-- BEGIN synthbench NAME -->` and `<!-- END synthbench NAME -->`.

    Raises BadInput where the file or the lines are missing; the file is replaced whole or not at all.
    """
    said = f"--update {named(file)}"
    text = files.text(file, said, MOST_BYTES)
    markers = [f"<!-- {edge} synthbench {name} -->" for edge in ("BEGIN", "END")]
    begin, end = ([*re.finditer(rf"^[ \t]*{re.escape(marker)}[ \t\r]*$", text, re.MULTILINE)] for marker in markers)
    if len(begin) != 1 or len(end) != 1 or end[0].start() < begin[0].end():
        raise BadInput(f"{said}: it must have the lines {' and '.join(markers)}, once each and in this order.")
    files.write(file, f"{text[: begin[0].end()]}\n{content}\n{text[end[0].start() :]}", said)
