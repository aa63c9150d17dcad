"""What `run`, `report`, `compare` and `export` do, between the command line and the parts that do the work."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from synthbench.analysis import reference
from synthbench.analysis.tiers import COMPLETE
from synthbench.cards import RunnerCard, is_path, load
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.files import is_file
from synthbench.common.terminal import console
from synthbench.common.wording import did_you_mean, inert, listed, named, shown
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.experiment import grids
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.reporting import claim_answers, comparison_table
from synthbench.reporting import comparison as comparing
from synthbench.reporting import export as exporting
from synthbench.reporting import figures as drawing
from synthbench.reporting import report as reports
from synthbench.reporting.comparison import RowFilter
from synthbench.reporting.table import as_rich
from synthbench.reporting.view import AS_IT_IS, View, check_columns
from synthbench.store.members import usable_results
from synthbench.store.results import DATABASE, Store


def run(asked: RunRequest, options: ExecutionOptions, *, dry_run: bool = False, assert_claims: bool = False) -> None:
    """`synthbench run`: plans, trains what is missing, prints the report.

    Raises NotMeasured if all runs of a row diverged.
    """
    options.check()
    experiment = resolve(asked)
    if dry_run:
        _describe(experiment, options)
        return
    found = reports.of_folder(options.out, experiment=perform(experiment, options))
    _print(found, options)
    if found.all_diverged:
        raise NotMeasured("All runs of a row diverged; try lower learning rates with --lr.")
    if assert_claims:
        reports.assert_claims(found)


def _describe(experiment: Experiment, options: ExecutionOptions) -> None:
    """`--dry-run`: what is still to be trained, by stage, at which rates in all, and how long it should take."""
    existing: dict[RunId, Result] = {}
    if is_file(options.out / DATABASE):
        with closing(Store.read(options.out)) as store:
            existing = usable_results(experiment, store)
    coming = Plan(experiment, {} if options.fresh else existing).remaining()
    rates = grids.described(experiment.card, experiment.tasks)
    for stage in experiment.card.stages:
        runs = [run for run in coming if run.stage == stage.name]
        print(f"{stage.name}: {len(runs)} runs, {sum(run.steps for run in runs)} run-steps")
        for line in rates[stage.name]:
            print(f"  {inert(line)}")
    steps = sum(run.steps for run in coming)
    print(
        f"in all: {len(coming)} runs, {steps} run-steps, {options.workers(experiment.environment.device)} workers; "
        + _prediction(coming, existing, experiment, options)
    )


def _prediction(coming: list[Run], existing: dict[RunId, Result], experiment: Experiment, options: ExecutionOptions) -> str:
    """Predicted time, from the pace of runs in the folder, else from that of the shipped reference."""
    members = {run.id: run for run in (Plan(experiment, {}).remaining() if existing else [])}
    known = [(existing[name], run) for name, run in members.items() if name in existing and existing[name].seconds]
    shipped = reference.shipped(experiment.card)
    if known:
        pace = sum(result.seconds for result, _ in known) / sum(run.steps for _, run in known)
        basis = f"the pace of {len(known)} runs in {named(options.out)}"
    elif shipped and shipped.spent.pace:
        pace, basis = shipped.spent.pace, f"the pace measured on {shipped.device}"
    else:
        return "no prediction: nothing like it has been run yet"
    seconds = pace * sum(run.steps for run in coming) / options.workers(experiment.environment.device)
    return f"about {seconds:.0f} s by {basis}"


def _print(found: reports.Report, options: ExecutionOptions) -> None:
    """The table, the sentence, where the results are, what to type next."""
    console().print(as_rich(found.table))
    _notes(found)
    runs, program, out = found.spent.runs, _program(), _out(options.out)
    print(f"Results: {runs} runs in {named(options.out)}; every score along every path: {program} export{out}")
    if found.reference:
        others = ",".join(dict.fromkeys(row.optimizer for row in found.rows if row.reference))
        print(f"Next: {program} run --optimizer {others}{out}   (measures the starred rows here)")
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


def _notes(found: reports.Report) -> None:
    _say([*found.table.notes, *found.remarks, *found.advice, "", found.sentence])
    if found.card.claims and not found.claims:
        _say(
            [
                f"None of the {len(found.card.claims)} claims of {found.card.name} is measured: rows are missing for each."
            ]
        )
    if found.claims:
        console().print(claim_answers.as_rich(found.claims))
        _say([claim_answers.NOTE])


def _say(lines: Sequence[str]) -> None:
    """Prints lines below a table, as wide as it may be."""
    width = min(console().width, 100)
    print()
    for line in lines:
        print(line if line.startswith(COMPLETE) else textwrap.fill(inert(line), width))  # to be copied as it is
    print()


def report(
    out: Path, runner: str | None, form: str, update: Path | None, view: View = AS_IT_IS, figures: Path | None = None,
    assert_claims: bool = False,
) -> None:  # fmt: skip
    """`synthbench report`. figures: a folder to draw them into."""
    allowed = ("table", *reports.WRITERS, "reference")
    if form not in allowed:
        raise BadInput(f"--format {shown(form)} is not allowed{did_you_mean(form, allowed)}.")
    if form == "reference" and view != AS_IT_IS:
        raise BadInput("--format reference holds the rows as they are; it goes with no --sort, --columns or --versus.")
    with closing(Store.read(out)) as store:
        found = reports.latest(store, _named_by(runner), with_reference=form != "reference")
        results = list(store.results(store.members(found.experiment)).values()) if form == "reference" else []
    view.check(found.rows)
    found = replace(found, view=view)
    made = drawing.make(found.rows, found.card) if figures else drawing.Made()
    written = drawing.write(made.pictures, figures) if figures else []
    pictures = drawing.markdown(made.pictures, figures, update) if figures else []
    if form == "claims" and not found.card.claims:
        raise BadInput(f"--format claims: the card of {named(found.card.name)} makes none.")
    if update is not None:
        claims = form == "claims"
        content = reports.WRITERS[form](found) if claims else reports.body(found, pictures)
        reports.update(update, found.card.name + "-claims" * claims, content)
    elif form == "table":
        console().print(as_rich(found.table))
        _notes(found)
    elif form == "markdown":
        print(reports.markdown(found, pictures))
    elif form == "reference":
        rows = reference.make(found.card, found.tasks, found.rows, found.command, results)
        print(reference.text(rows))
    else:
        print(reports.WRITERS[form](found))
    is_free = update is not None or form == "table"  # standard output holds nothing that another program reads
    for line in [*(f"Figure: {named(place)}" for place in written), *made.skipped]:
        print(line, file=sys.stdout if is_free else sys.stderr)
    if assert_claims:
        reports.assert_claims(found)


def _named_by(runner: str | None) -> str | None:
    """The name of a runner that is given by its name or by the path of its card."""
    return load(RunnerCard, runner).name if runner and is_path(runner) else runner


def compare(
    one: str, other: str, out: Path, runner: str | None, narrow: RowFilter, columns: Sequence[str] | None, form: str
) -> None:
    """`synthbench compare`."""
    allowed = ("table", *comparison_table.WRITERS)
    if form not in allowed:
        raise BadInput(f"--format {shown(form)} is not allowed{did_you_mean(form, allowed)}.")
    check_columns(columns)
    found = comparing.compare(one, other, out, _named_by(runner), narrow, columns)
    if form == "table":
        console().print(comparison_table.as_rich(found))
        _say([*found.notes, "", comparison_table.sentence(found)])
    else:
        print(comparison_table.WRITERS[form](found))


def gc(out: Path, yes: bool) -> None:
    """`synthbench gc`: lists what no experiment uses; with `yes` deletes it."""
    from synthbench.store.garbage import delete, unused

    writing = yes and is_file(out / DATABASE)  # reading refuses a folder without results, and makes none
    with closing(Store.create(out) if writing else Store.read(out)) as store:
        identities = store.identities()
        found = delete(store) if yes else unused(store)
    for run, attempt, status in found.runs:
        told = identities.get(run, {"stage": "?", "optimizer": {"name": "?"}, "seed": "?", "lr": "?"})
        about = f"{told['stage']} {told['optimizer']['name']}, lr {told['lr']}, seed {told['seed']}"
        print(f"run {run[:12]} attempt {attempt} ({status}): {about}")
    for file, size in found.files.items():
        print(f"file {inert(str(file.relative_to(out)))}: {size} bytes")
    total = f"{len(found.runs)} runs and {len(found.files)} files ({sum(found.files.values()) / 2**20:.1f} MiB)"
    if not found.runs and not found.files:
        print("Nothing is unused.")
    elif yes:
        print(f"Deleted {total}.")
    else:
        print(f"{total} are unused; delete them with: {_program()} gc --yes{_out(out)}")


def export(out: Path, runner: str | None, form: str) -> None:
    """`synthbench export`."""
    if form not in exporting.FORMATS:
        raise BadInput(f"--format {shown(form)} is not allowed; allowed are {listed(exporting.FORMATS)}.")
    with closing(Store.read(out)) as store:
        found = reports.latest(store, _named_by(runner), with_reference=False)
        text = exporting.write(form, list(exporting.objects(found, store)))
    if text:  # of no runs, not even an empty line, which would be no JSON
        print(text)
