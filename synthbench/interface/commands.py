"""What `run`, `report`, `compare` and `export` do, between the command line and the parts that do the work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from synthbench.analysis import reference
from synthbench.cards import RunnerCard, is_path, load
from synthbench.cards.spelling import score_names
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.files import is_file
from synthbench.common.terminal import console, encodable
from synthbench.common.wording import check_choice, inert, named, shown
from synthbench.execution import pace
from synthbench.execution.engine import HERE
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.execution.simulate import schedule
from synthbench.execution.trials import tried
from synthbench.experiment import grids
from synthbench.experiment.plan import Experiment, Plan, costs, growth, missing
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.experiment.walk import Cells
from synthbench.reporting import claim_answers, comparison_table
from synthbench.reporting import comparison as comparing
from synthbench.reporting import export as exporting
from synthbench.reporting import figures as drawing
from synthbench.reporting import report as reports
from synthbench.reporting.comparison import RowFilter
from synthbench.reporting.notes import COMPLETE
from synthbench.reporting.report import AS_IT_IS, View, check_columns
from synthbench.reporting.sentence import ALIKE
from synthbench.reporting.table import as_rich
from synthbench.store import merge as merging
from synthbench.store.members import Narrowing, usable_results
from synthbench.store.results import DATABASE, Store
from synthbench.trainer.native.path import TORCH


def run(request: RunRequest, options: ExecutionOptions, *, dry_run: bool = False, assert_claims: bool = False) -> None:
    """`synthbench run`: trains what is missing, prints the report. Raises NotMeasured if all runs of a row diverged."""
    options.check()
    experiment = resolve(request)
    experiment = tried(experiment, options.workers(experiment.environment.device))
    if dry_run:
        _describe(experiment, options)
        return
    narrowing = Narrowing(request.seed_list, request.updates)
    report = reports.of_folder(options.out, experiment=perform(experiment, options), narrowing=narrowing)
    _print(report, options)
    if report.all_diverged:
        raise NotMeasured("All runs of a row diverged; try lower learning rates with --lr.")
    if assert_claims:
        reports.assert_claims(report)


def _describe(experiment: Experiment, options: ExecutionOptions) -> None:
    """`--dry-run`: what is still to be trained, by stage, at which rates in all, and how long it should take."""
    work = _work(experiment, options)
    stages, rates = costs(experiment, work.remaining), grids.described(experiment.card, work.everything)
    for stage, cost in stages.items():
        print(f"{stage}: {cost.runs} runs, {cost.run_steps} run-steps")
        for line in rates[stage]:
            print(f"  {inert(line)}")
    workers = options.workers(experiment.environment.device)
    at_a_time = f"{workers} workers" if options.engine.is_here or options.jobs else "on the cluster"
    path = "" if experiment.environment.path == TORCH else f", {experiment.environment.path} path"
    total = f"in all: {work.told}, {at_a_time}{path}"
    if not work.remaining:
        print(f"{total}; all were done before")
        return
    paces = work.paces(options)
    planned = schedule(experiment, work.done, paces, paces.slots, options.fleet_size)
    seconds = paces.start + planned.seconds
    grown = growth(experiment, work.everything)
    print(f"{total}; about {_duration(seconds)}{' here' * options.engine.is_here}, by a few timed steps"
          + f", and up to {grown:.1f} times that where grids are extended" * (grown > 1))  # fmt: skip


def plan(request: RunRequest, options: ExecutionOptions, *, gpus: int | None, cpus: int, speed: float | None) -> None:
    """`synthbench plan`: a simulated schedule on a cluster. speed: how many times as fast as here its nodes are."""
    options.engine.check()
    of, have, takes = ("CPU", cpus, options.engine.cpus) if gpus is None else ("GPU", gpus, options.engine.gpus)
    slots = int(have / takes)
    if not (slots >= 1 and (speed is None or (isfinite(speed) and speed > 0))):
        raise BadInput("--gpus, --cpus and --speed must be above 0, and large enough for one fleet.")
    experiment = tried(resolve(request))
    if speed is None and gpus is not None and experiment.environment.device != "cuda":
        raise BadInput(
            "--gpus: steps are timed on this machine's CPU; say with --speed how many times as fast a GPU trains."
        )
    speed = speed or 1.0
    work, here = _work(experiment, options), replace(options, engine=HERE)
    name, nodes = inert(experiment.card.name), f"{have} {of}s"
    if not work.remaining:
        print(f"{name}: all runs were done before; nothing is trained.")
        return
    paces = work.paces(here)
    planned = schedule(experiment, work.done, paces, slots, options.fleet_size)
    seconds = (paces.start + planned.seconds) / speed
    print(f"{name}: {work.told}, in {planned.fleets} fleets, {slots} at a time on {nodes}")
    print(
        f"about {_duration(seconds)}, {100 * planned.idle:.0f} % idle, {planned.moved / 1e9:.2g} GB of weights moved, "
        f"{seconds / 3600 * have:.2g} {of}-hours"
    )
    device = "GPU" if experiment.environment.device == "cuda" else "CPU"
    by = f"Simulated, by a few steps timed on this machine's {device}"
    print(f"{by}; nodes are taken for {speed:g} times as fast (--speed).")


class _Work(NamedTuple):
    """What an experiment has to train. done: what it need not. everything: its cells, had nothing been done."""

    experiment: Experiment
    done: dict[RunId, Result]
    everything: Cells
    whole: Cells
    remaining: list[Run]

    @property
    def told(self) -> str:
        return f"{len(self.remaining)} runs, {sum(run.steps for run in self.remaining)} run-steps"

    def paces(self, options: ExecutionOptions) -> pace.Paces:
        tasks = {run.id: self.experiment.tasks[cell.task] for cell, runs in self.whole.items() for run in runs}
        workers = min(options.workers(self.experiment.environment.device), len(self.remaining))
        return pace.measure(
            self.remaining, lambda run: tasks[run.id], workers, options.fleet_size, options.engine
        )  # fmt: skip


def _work(experiment: Experiment, options: ExecutionOptions) -> _Work:
    existing: dict[RunId, Result] = {}
    if is_file(options.out / DATABASE) and not options.fresh:
        with closing(Store.read(options.out)) as store:
            existing = usable_results(experiment, store)
    everything = Plan(experiment, {}).whole()
    whole = Plan(experiment, existing).whole() if existing else everything
    return _Work(experiment, existing, everything, whole, missing(whole, existing))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"


def _print(report: reports.Report, options: ExecutionOptions) -> None:
    """The table, the sentence, where the results are, what to type next."""
    _tables(report)
    _notes(report)
    runs, program, out = report.spent.runs, _program(), _out(options.out)
    print(f"Results: {runs} runs in {named(options.out)}; every score along every path: {program} export{out}")
    if report.reference:
        others = ",".join(dict.fromkeys(row.optimizer for row in report.rows if row.reference))
        tuning = " --set tuning=wide" * ("tuning=wide" in report.reference.command)
        path = _path(report.command)
        print(f"Next: {program} run --optimizer {others}{tuning}{path}{out}   (measures the starred rows here)")
    else:
        print(f"Next: {program} report --format markdown{out}   (the same table for a page)")


def _program() -> str:
    """The program as it can be typed again: by its name where that is on the path, else as it was called."""
    called = Path(sys.argv[0])
    if shutil.which("synthbench") or called.name != "synthbench":
        return "synthbench"
    return shlex.quote(os.path.relpath(called) if called.is_file() else called.name)


def _out(folder: Path) -> str:
    """The option that names a folder of results, where it is not the default."""
    return "" if folder == Path("synthbench-results") else f" --out {inert(shlex.quote(str(folder)))}"


def _path(command: str) -> str:
    """The option that names the path of training, as it was typed."""
    found = re.search(r"--path[ =](\w+)", command)
    return f" --path {found[1]}" if found else ""


def _tables(report: reports.Report) -> None:
    """Every row; then, of several tasks, the means over them."""
    console().print(as_rich(report.table))
    if over_tasks := report.overall:
        print(f"\n{reports.OVER_TASKS}:\n")
        console().print(as_rich(over_tasks))


def _notes(report: reports.Report) -> None:
    _say(report.lines)
    if report.card.claims and not report.claims:
        _say([_unmeasured(report)])
    if report.claims:
        console().print(claim_answers.as_rich(report.claims))
        _say([claim_answers.NOTE])


def _unmeasured(report: reports.Report) -> str:
    """Why no claim is measured, and the command that shows it claim by claim."""
    count, name = len(report.card.claims), report.card.name
    reasons = dict.fromkeys(
        why for answer in report.answers for reading in answer.readings for why in reading.missing.values()
    ) or ["no rows"]
    out = _out(report.folder) if report.folder else ""
    command = f"{_program()} report {name} --format claims{out}"
    return f"None of the {count} claims of {name} is measured ({'; '.join(reasons)}): {command}"


def _say(lines: Sequence[str]) -> None:
    """Prints lines below a table, as wide as it may be."""
    screen = console()
    print()
    for line in lines:
        if not line.startswith((COMPLETE, ALIKE)):  # these are to be copied as they are
            line = textwrap.fill(
                encodable(inert(line), screen.encoding), min(screen.width, 100), break_on_hyphens=False,
            )  # fmt: skip
        print(line)
    print()


def merge(sources: Sequence[Path], target: Path) -> None:
    """`synthbench merge`."""
    merged = merging.merge(sources, target)
    counts = ", ".join(f"{count} runs of {named(folder)}" for folder, count in merged.runs.items())
    print(f"{named(target)}: {counts}; {merged.known} runs were there before.")
    if merged.conflicts:
        print(_told(merged.conflicts))
    if merged.lost:
        print(
            f"{len(merged.lost)} files of weights are missing or damaged, and left out: {merged.lost[0]} is the first."
        )


def _told(conflicts: Sequence[merging.Conflict]) -> str:
    """The conflicts of a merge in a sentence."""
    first = conflicts[0]
    devices = first.kept if first.kept == first.other else f"{first.kept}, and there on {first.other}"
    return (
        f"{len(conflicts)} runs have other numbers in a folder before, which are kept: run {first.run[:12]} of "
        f"{named(first.folder)} is the first (trained on {devices})."
    )


def report_of(folders: Sequence[Path], out: Path, names: Sequence[str], view: View, **options: Any) -> None:
    """`synthbench report` of a folder, or of several as if they were one. names: of at most one runner."""
    if len(names) > 1:
        raise BadInput(f"report {shown(names[1])}: neither a folder with {DATABASE} nor the only runner.")
    runner = names[0] if names else None
    if len(folders) < 2:
        report(folders[0] if folders else out, runner, view, **options)
        return
    with tempfile.TemporaryDirectory(prefix="synthbench-") as together:
        merged = merging.merge(folders, Path(together), whole=False)
        if merged.conflicts:
            print(f"synthbench: {_told(merged.conflicts)}", file=sys.stderr)
        report(Path(together), runner, view, **options, is_kept=False)


def report(
    out: Path,
    runner: str | None,
    view: View,
    *,
    form: str,
    into: Path | None,
    figures: Path | None,
    assert_claims: bool,
    is_kept: bool = True,
) -> None:
    """`synthbench report`. into: a page with markers, to put the table between. figures: a folder to draw figures into.
    is_kept: whether the folder is still there afterwards, so that commands can name it."""
    check_choice("--format", form, ("table", *reports.WRITERS, "reference"))
    if form == "reference" and view != AS_IT_IS:
        raise BadInput("--format reference holds the rows as they are; it goes with no --sort, --columns or --versus.")
    with closing(Store.read(out)) as store:
        latest = reports.latest(store, _named_by(runner), with_reference=form != "reference")
        results = list(store.results(store.members(latest.experiment)).values()) if form == "reference" else []
    view.check(latest.rows)
    shown_report = replace(latest, view=view, folder=latest.folder if is_kept else None)
    if form == "claims" and not latest.card.claims:
        raise BadInput(f"--format claims: the card of {named(latest.card.name)} has no claims.")
    drawn = drawing.make(latest.rows, latest.card) if figures else drawing.Made()
    files = drawing.write(drawn.pictures, figures) if figures else []
    links = drawing.markdown(drawn.pictures, figures, into) if figures else []
    if into is not None:
        is_claims = form == "claims"
        content = reports.WRITERS[form](shown_report) if is_claims else reports.body(shown_report, links)
        reports.put_into(into, latest.card.name + "-claims" * is_claims, content)
    elif form == "table":
        _tables(shown_report)
        _notes(shown_report)
    elif form == "markdown":
        print(reports.markdown(shown_report, links))
    elif form == "reference":
        rows = reference.make(latest.card, latest.tasks, latest.rows, latest.command, results)
        print(reference.text(rows))
    else:
        print(reports.WRITERS[form](shown_report))
    is_free = into is not None or form == "table"  # standard output holds nothing that another program reads
    for line in [*(f"Figure: {named(file)}" for file in files), *drawn.skipped]:
        print(line, file=sys.stdout if is_free else sys.stderr)
    if assert_claims:
        reports.assert_claims(shown_report)


def _named_by(runner: str | None) -> str | None:
    """The name of a runner that is given by its name or by the path of its card."""
    return load(RunnerCard, runner).name if runner and is_path(runner) else runner


def compare(
    sides: tuple[str, str], out: Path, runner: str | None, rows: RowFilter, columns: Sequence[str] | None, form: str
) -> None:
    """`synthbench compare`."""
    check_choice("--format", form, ("table", *comparison_table.WRITERS))
    columns = score_names(columns, "--columns") if columns else columns
    check_columns(columns)
    comparison = comparing.compare(*sides, out, _named_by(runner), rows, columns)
    if form == "table":
        console().print(comparison_table.as_rich(comparison))
        _say([*comparison.notes, "", comparison_table.sentence(comparison)])
    else:
        print(comparison_table.WRITERS[form](comparison))


def export(out: Path, runner: str | None, form: str) -> None:
    """`synthbench export`."""
    check_choice("--format", form, exporting.FORMATS)
    with closing(Store.read(out)) as store:
        recorded, card = reports.entry(store, _named_by(runner))
        for line in exporting.lines(form, exporting.objects(recorded.id, card.name, store)):
            print(line)


def gc(out: Path, *, yes: bool) -> None:
    """`synthbench gc`: lists what no experiment uses; with `yes` deletes it."""
    from synthbench.store.garbage import delete, unused

    writing = yes and is_file(out / DATABASE)  # reading refuses a folder without results, and makes none
    with closing(Store.create(out) if writing else Store.read(out)) as store:
        identities = store.identities()
        garbage = delete(store) if yes else unused(store)
    unknown = {"stage": "?", "optimizer": {"name": "?"}, "seed": "?", "lr": "?"}
    for run, attempt, status in garbage.runs:
        settings = identities.get(run, unknown)
        about = f"{settings['stage']} {settings['optimizer']['name']}, lr {settings['lr']}, seed {settings['seed']}"
        print(f"run {run[:12]} attempt {attempt} ({status}): {about}")
    for file, size in garbage.files.items():
        print(f"file {inert(str(file.relative_to(out)))}: {size} bytes")
    total = f"{len(garbage.runs)} runs and {len(garbage.files)} files ({sum(garbage.files.values()) / 2**20:.1f} MiB)"
    if not garbage.runs and not garbage.files:
        print("Nothing is unused.")
    elif yes:
        print(f"Deleted {total}.")
    else:
        print(f"{total} are unused; delete them with: {_program()} gc --yes{_out(out)}")
