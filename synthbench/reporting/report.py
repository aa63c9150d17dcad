"""A report: the table of one experiment in a folder of results, with reference rows, a sentence and notes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from statistics import fmean

from synthbench.analysis import pairing, ranks, rate_advice, reference, rows
from synthbench.analysis.claims import REFUTED, Answer, answers
from synthbench.analysis.cost import Spent, spent
from synthbench.analysis.fairness import are_alike
from synthbench.analysis.pairing import Pair
from synthbench.analysis.reference import Reference
from synthbench.analysis.rows import Row, Stopped
from synthbench.cards import RunnerCard
from synthbench.cards.spelling import score_names
from synthbench.common import files
from synthbench.common.collecting import uncollected
from synthbench.common.errors import BadInput, NotMeasured, Refuted
from synthbench.common.wording import check_choice, code, inert, literal, named, prose, shown
from synthbench.reporting import claim_answers, notes, sentence, table
from synthbench.reporting.overall import Overall, overall
from synthbench.reporting.table import Table
from synthbench.scores import SCORES
from synthbench.store.members import EVERYTHING, Narrowing
from synthbench.store.results import Recorded, Store

MOST_BYTES = 2**24  # of a page that a table is put into
LINES_OF_FIGURE = 4  # in markdown
OVER_TASKS = "Means over the tasks, each of which counts once, with 95 % intervals over seeds"


@dataclass(frozen=True)
class View:
    """How rows are shown. sort: a score, best first. columns: scores in place of the card's. versus: the optimizer to
    compare rows with."""

    sort: str | None = None
    columns: Sequence[str] | None = None
    versus: str | None = None

    @classmethod
    def of(cls, sort: str | None, columns: Sequence[str] | None, versus: str | None) -> View:
        """A view as it is asked for, with the names of scores that are registered."""
        sorted_by = score_names([sort], "--sort")[0] if sort else sort
        return cls(sorted_by, score_names(columns, "--columns") if columns else columns, versus)

    def check(self, rows: Sequence[Row]) -> None:
        """Raises BadInput for a score or an optimizer that these rows do not have."""
        if self.sort is not None:
            check_choice("--sort", self.sort, SCORES)
        check_columns(self.columns)
        self.rivals(rows)

    def scores(self, card: RunnerCard) -> list[str]:
        return list(self.columns or card.columns)

    def ordered(self, rows: Sequence[Row]) -> list[Row]:
        """Task by task, the best first (the highest where neither is better); rows without the score last."""
        if self.sort is None:
            return list(rows)
        sign = 1 if SCORES[self.sort].better == "down" else -1
        groups = list(dict.fromkeys(map(pairing.setting, rows)))
        means = [sign * fmean(row.values[self.sort].values()) if row.values.get(self.sort) else inf for row in rows]
        ranks = [(groups.index(pairing.setting(row)), mean) for row, mean in zip(rows, means, strict=True)]
        return [rows[index] for index in sorted(range(len(rows)), key=ranks.__getitem__)]

    def rivals(self, rows: Sequence[Row]) -> list[Row | None]:
        """For each row the one of the optimizer that it is compared with; None for those rows themselves."""
        if self.versus is None:
            return [None] * len(rows)
        rivals = pairing.of_optimizer(rows, self.versus, "--versus")
        return [None if row in rivals else pairing.counterpart(row, rivals, apart_from="label") for row in rows]


AS_IT_IS = View()


def check_columns(names: Sequence[str] | None) -> None:
    """Raises BadInput for unknown scores, or one named twice."""
    for name in names or ():
        check_choice("--columns", name, SCORES)
    if names is not None and len(set(names)) < len(names):
        raise BadInput(f"--columns {shown(','.join(names))} has the same score twice.")


@dataclass(frozen=True)
class Report:
    """The results of one experiment. tasks: fingerprints by name. rows: measured ones first, then the reference's.

    versions: what the measured runs were made with. finished: whether all runs are done. stopped: what could not start.
    remarks: lines for a terminal beside the notes: arguments, what is left out. advice: which rates to add to rows without
    an `@fit` value. view: how the rows are shown. folder: where the results are. spent: what the measured runs took.
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
    spent: Spent = field(default_factory=Spent)

    @cached_property
    def table(self) -> Table:
        card, score = self.card, self.ranked_by
        rows = replace(self.view, sort=self.view.sort or score).ordered(self.rows)
        shown = Table(
            rows, self.view.scores(card), f"{card.name}: {', '.join(self.tasks)}",
            ranks=ranks.ranks(rows, score, card) if score else None, ranked_by=score or "",
            versus=self.view.versus, rivals=self.view.rivals(rows),
            has_trials=any(not are_alike(row.trials, rows[0].trials, card) for row in rows),
        )  # fmt: skip
        return replace(shown, notes=self._notes(notes.legend(shown, card)))

    @cached_property
    def overall(self) -> Overall | None:
        """The table over tasks, if there are several."""
        return None if self.view.versus else overall(self.rows, self.card, self.view.scores(self.card))

    @property
    def ranked_by(self) -> str | None:
        """The score that ranks the rows, best first; None where the card names none or has too few seeds."""
        return self.card.rank if len(self.card.seed_list) >= ranks.SEEDS_FOR_RANKS else None

    def _notes(self, lines: list[str]) -> list[str]:
        """The legend, then what is particular to these rows."""
        if name := self.view.versus:
            rivals = zip(self.rows, self.view.rivals(self.rows), strict=True)
            lines.append(notes.versus(name, [Pair(row, rival) for row, rival in rivals if rival], self.rows))
        if self.card.rank:
            lines += notes.rank_notes(self.rows, self.card, self.command, self.folder)
        if source := self.reference:
            made = f"{source.device}, torch {source.versions['torch']}"
            lines.append(f"* reference rows shipped with synthbench (same task, card and code): {made}.")
        lines += notes.paths([row for row in self.rows if not row.reference])
        lines += notes.devices(self.rows)
        lines += notes.stopped(self.stopped)
        if not self.finished:
            lines.append("Unfinished: rerun the command to train the missing runs.")
        return list(map(inert, lines))

    @property
    def lines(self) -> list[str]:
        """What stands below the table: its notes, remarks, advice on rates, and the sentence."""
        return [*self.table.notes, *self.remarks, *self.advice, "", self.sentence, *self.next_steps]

    @property
    def next_steps(self) -> list[str]:
        """A command that makes the two rows of the sentence comparable, where they are not."""
        step = "" if self.claims else inert(sentence.next_step(self.rows, self.card))
        return [step] if step else []

    @property
    def sentence(self) -> str:
        """The answers to the claims, or two optimizers on the first task compared."""
        return claim_answers.summary(self.claims) if self.claims else inert(sentence.sentence(self.rows, self.card))

    @cached_property
    def answers(self) -> list[Answer]:
        """The answers to the card's claims, those that are not measured, too."""
        return answers(self.card, self.rows)

    @cached_property
    def claims(self) -> list[Answer]:
        """The answers to the card's claims; none where these rows measure none of them."""
        return self.answers if any(answer.tasks for answer in self.answers) else []

    @property
    def all_diverged(self) -> bool:
        """Whether all runs of a measured row of the card's optimizers diverged, or all that it would have started from."""
        lost = [(*row.base, row.optimizer)[0] for row in self.rows if row.lr is None and not row.reference]
        lost += [(*cell.base, cell.optimizer)[0] for cell, _, entirely in self.stopped if entirely]
        return not set(self.card.optimizers).isdisjoint(lost)


def of_folder(
    folder: Path, runner: str | None = None, *, with_reference: bool = True, experiment: str | None = None,
    narrowing: Narrowing = EVERYTHING,
) -> Report:  # fmt: skip
    """`latest`, of the store in a folder. Of an experiment that was just trained: damaged runs of others do not matter."""
    with closing(Store.create(folder) if experiment else Store.read(folder)) as store:
        return latest(store, runner, with_reference=with_reference, experiment=experiment, narrowing=narrowing)


@uncollected()
def latest(
    store: Store, runner: str | None = None, *, with_reference: bool = True, experiment: str | None = None,
    narrowing: Narrowing = EVERYTHING,
) -> Report:  # fmt: skip
    """The report of the experiment that was used last (of a runner, if one is named), or of the one whose id is given;
    raises BadInput if there is none."""
    recorded, card = entry(store, runner, experiment)
    tasks: dict[str, str] = json.loads(recorded.tasks)
    stored = rows.read_results(store, recorded.id, narrowing, card.stages[-1].name)
    measured = rows.rows_of(stored, card)
    every_row, source = reference.beside(measured, card, tasks) if with_reference else (measured, None)
    missing = reference.left_out(measured, card, tasks) if with_reference and source is None else []
    return Report(
        recorded.id, card, tasks, recorded.command, every_row, source,
        versions={name: number for result in stored.results.values() for name, number in result.versions.items()},
        finished=recorded.finished, stopped=rows.stopped(stored, card),
        remarks=[*notes.settings(measured, stored, card), *notes.left_out(missing)],
        advice=notes.rate_advice(rate_advice.unread(stored, card), card), folder=store.folder,
        spent=spent(stored.results.values()),
    )  # fmt: skip


def entry(store: Store, runner: str | None, experiment: str | None = None) -> tuple[Recorded, RunnerCard]:
    """The experiment that `latest` reports, and its card."""
    experiments = store.experiments()
    names = [json.loads(one.card)["name"] for one in experiments]
    where = f"--out {named(store.folder)}:"
    if not experiments:
        raise BadInput(f"{where} no experiment has finished there; type: synthbench run with this --out.")
    if runner is not None:
        check_choice(f"{where} runner", runner, dict.fromkeys(names))
    recorded = experiments[names.index(runner) if runner else 0]
    if experiment is not None:
        recorded = next(one for one in experiments if one.id == experiment)
    return recorded, RunnerCard.model_validate_json(recorded.card)


def assert_claims(report: Report) -> None:
    """Raises Refuted that names the claims which the rows refute, NotMeasured where some are not measured."""
    if not report.card.claims:
        raise BadInput(f"--assert-claims: the card of {named(report.card.name)} makes no claims.")
    kinds = {str(number): answer.kind for number, answer in enumerate(report.answers, start=1)}
    if refuted := [number for number, kind in kinds.items() if kind in REFUTED]:
        raise Refuted(f"Refuted: claim {', '.join(refuted)} of {report.card.name}.")
    if unmeasured := [number for number, kind in kinds.items() if kind == "not measured"]:
        raise NotMeasured(f"Not measured: claim {', '.join(unmeasured)} of {report.card.name}.")


def markdown(report: Report, figures: Sequence[str] = ()) -> str:
    """A page: question, table, sentence, figures (lines of markdown), and what it was made with."""
    return "\n".join([f"# {report.card.name}", "", literal(prose(report.card.question)), "", body(report, figures)])


def body(report: Report, figures: Sequence[str] = ()) -> str:
    """The page without its head: what `--into` puts between a file's markers."""
    card = report.card
    fingerprints = [f"{card.name} {card.version}: {card.fingerprint()[:16]}"]
    fingerprints += [f"task {name}: {fingerprint[:16]}" for name, fingerprint in report.tasks.items()]
    device = rows.joined(row.device for row in report.rows if not row.reference)
    made = [
        f"Command: {code(report.command)}",
        f"Device: {literal(device) or 'none'}",
        f"Versions: {', '.join(literal(f'{name} {number}') for name, number in report.versions.items())}",
        *([f"Time: {notes.spent(report.spent)}"] if report.spent.runs else []),
        f"Card {'; '.join(fingerprints)}",
    ]
    claims = ["**Claims**", "", claims_block(report), ""] if report.claims else []
    steps = [line for step in report.next_steps for line in (literal(step), "")]
    by_task, said = [table.as_markdown(report.table), ""], [literal(report.sentence), "", *steps, *claims]
    if over_tasks := report.overall:
        first, others = figures[:LINES_OF_FIGURE], figures[LINES_OF_FIGURE:]
        drawn = [f"{OVER_TASKS}:", "", table.as_markdown(over_tasks), ""]
        lines = [*drawn, *first, *said, "## Task by task", "", *by_task, *others]
    else:
        lines = [*by_task, *said, *figures]
    return "\n".join([*lines, *(f"- {line}" for line in made)])


def claims_block(report: Report) -> str:
    """The answers to the claims in markdown; of those that are not measured, too."""
    return "\n".join([claim_answers.NOTE, "", *claim_answers.lines(report.answers, report.folder)])


def as_json(report: Report) -> str:
    """The table, the answers to the claims, and what the measured runs were made with."""
    answered = {"claims": claim_answers.records(report.claims)} if report.claims else {}
    made = {"versions": report.versions}
    return json.dumps(table.content(report.table) | answered | made, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Report], str]] = {
    "markdown": markdown,
    "claims": claims_block,
    "csv": lambda report: table.as_csv(report.table),
    "json": as_json,
    "latex": lambda report: table.as_latex(report.table),
}


def put_into(file: Path, name: str, content: str) -> None:
    """Puts content between a file's lines `<!-- BEGIN synthbench NAME -->` and `<!-- END synthbench NAME -->`.

    Raises BadInput where the file or the lines are missing; the file is replaced whole or not at all.
    """
    option = f"--into {named(file)}"
    text = files.marked_text(file, option, MOST_BYTES)
    markers = [f"<!-- {edge} synthbench {name} -->" for edge in ("BEGIN", "END")]
    edges = map(re.escape, markers)
    begin, end = ([*re.finditer(rf"^{files.MARK}?[ \t]*{edge}[ \t\r]*$", text, re.MULTILINE)] for edge in edges)
    if len(begin) != 1 or len(end) != 1 or end[0].start() < begin[0].end():
        raise BadInput(f"{option} needs the lines {' and '.join(markers)}, once each and in this order.")
    files.write(file, f"{text[: begin[0].end()]}\n{content}\n{text[end[0].start() :]}", option)
