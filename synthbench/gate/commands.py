"""`synthbench baseline` and `synthbench check`, between the command line and the parts that do the work."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from synthbench import plugins
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured, Refuted
from synthbench.common.terminal import console
from synthbench.common.wording import check_choice, inert, listed, named
from synthbench.execution.session import ExecutionOptions
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import baseline as baselines
from synthbench.gate import candidate, comparison, explain, writers
from synthbench.gate.baseline import Baseline
from synthbench.gate.check import CheckRequest, CheckResult, check
from synthbench.gate.power import allowed, findable
from synthbench.gate.record import folder, record

LEARNED = 0.2  # a mean `learning` below which a baseline holds less than it could
SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that GitHub shows as a job's summary


def options(jobs: int | None, quiet: bool, command: str) -> ExecutionOptions:
    """How to train, in whatever folder."""
    return ExecutionOptions(out=Path(), jobs=jobs, keep_weights="all", quiet=quiet, command=command)


@dataclass(frozen=True, kw_only=True)
class RecordRequest:
    """Where a baseline is recorded. file: to be written. overwrite: an existing file, having shown what changed. again: the
    experiment is that of the file, with its card and rates. results: where its runs are kept, None for nowhere."""

    file: Path
    overwrite: bool = False
    again: bool = False
    results: Path | None = None


def make(request: RunRequest, target: RecordRequest, options: ExecutionOptions) -> Baseline:
    """`synthbench baseline`: records, prints what was recorded, writes the file."""
    file = target.file
    options.check()
    check_writable(file)
    exists = files.is_file(file)
    if exists and not target.overwrite:
        raise BadInput(f"-o {named(file)} exists already; --overwrite shows what changed and overwrites it.")
    before = _former(file) if exists else None
    experiment = _recorded(before, file, request) if target.again else candidate.to_record(request)
    (label,) = experiment.card.optimizers
    plugin = plugins.plugin_of(label)
    name = plugin.origin if plugin and isinstance(plugin.origin, str) else label
    with folder(target.results) as out:
        baseline = record(experiment, name, replace(options, out=out, is_temporary=target.results is None))
    if before is not None and target.again:  # the rates are those that this command chose
        baseline = baseline.model_copy(update={"command": before.command})
    if before is None or not _show_changes(before, baseline, file):
        _show_noise(baseline)
    baselines.write(baseline, file)
    _show_summary(baseline, file)
    return baseline


def _recorded(before: Baseline | None, file: Path, request: RunRequest) -> Experiment:
    """The experiment that a file recorded, with the requested seeds and device."""
    if before is None:
        raise BadInput(f"-o {named(file)} holds no baseline to record again; name its optimizer with --optimizer.")
    seeds = list(range(request.seeds)) if isinstance(request.seeds, int) else request.seeds
    device = None if request.device == "auto" else request.device
    experiment, notes = candidate.to_check(before, named(file), candidate.Candidate(seeds=seeds, device=device))
    here = experiment.environment.device
    if device is None and here != before.device:
        raise BadInput(
            f"-o {named(file)} is of {before.device}, which is not here; --device {here} records it for that."
        )
    say(notes)
    return experiment


def check_writable(file: Path | None) -> None:
    """Raises BadInput where a file cannot be put there: before anything is trained."""
    if file is None:
        return
    if not files.is_folder(file.parent) or files.is_folder(file) or not os.access(file.parent, os.W_OK):
        raise BadInput(f"-o {named(file)} must be a file in a folder that exists and can be written.")


def _former(file: Path) -> Baseline | None:
    """The baseline that is to be overwritten; None, with a line, where it cannot be compared."""
    try:
        return baselines.read(file)
    except NotMeasured as error:
        say([f"{error} Changes cannot be shown."])
        return None


def _show_noise(baseline: Baseline) -> None:
    """The recorded means, how far chance moves them, and what a check would find."""
    n = len(baseline.card.seed_list)
    behaviour, least = baseline.behaviour, findable(baseline.behaviour, n)
    rows = []
    for where, scores in behaviour.values.items():
        for name, values in scores.items():
            bound = allowed(behaviour, where, name, n)
            numbers = (fmean(values.values()), behaviour.noise[where][name], bound, least[where][name])
            rows.append([where, name, *map(writers.number, numbers)])
    heads = ["stage/update", "score", "mean", "noise", "bound", "found from"]
    console().print(writers.as_rich(heads, rows))
    say([
        "noise: how far apart two halves of the seeds are; bound: how far a mean may move; found from: the change that "
        f"{n} seeds find with 80 % power."
    ])  # fmt: skip


def _show_summary(baseline: Baseline, file: Path) -> None:
    """What was recorded, how good it is, and what to type next."""
    n, blind = len(baseline.card.seed_list), comparison.uninformative(baseline.trace)
    traced = (
        f"The traces of {listed(blind)} are uninformative: rounding error dominates; lower rates may help."
        if blind
        else f"Traces of {len(baseline.trace.seeds)} seeds find far smaller changes than scores."
    )
    rates = ", ".join(f"{where} {writers.number(rate)}" for where, rate in explain.rates(baseline.card).items())
    what = f"{baseline.spec.name} on {listed(baseline.tasks)}, {n} seeds, {baseline.device}"
    say([f"Recorded: {what}; rates: {rates}. {traced}"])
    if idle := unlearned(baseline):
        say([
            f"{listed(idle)}: little was learned (learning below {LEARNED:g}), so a check finds less. Try other rates; the "
            f"best by validation is recorded: --lr 3e-4,1e-3 --set stages.{baseline.card.stages[0].name}.lr=[1e-3]."
        ])  # fmt: skip
    print(f"Next: synthbench check {inert(shlex.quote(str(file)))}")


def unlearned(baseline: Baseline) -> list[str]:
    """The cells in which little was learned at the recorded rates."""
    learned = {where: scores.get("learning", {}).values() for where, scores in baseline.behaviour.values.items()}
    return [where for where, values in learned.items() if values and fmean(values) < LEARNED]


def _show_changes(before: Baseline, after: Baseline, file: Path) -> bool:
    """Shows how a new baseline differs from the old one; returns whether they can be compared."""
    if before.tasks != after.tasks or before.card.seed_list != after.card.seed_list:
        say([f"{named(file)} was recorded on other data or seeds; its numbers do not compare with the new ones."])
        return False
    lines = comparison.behaviour(before.behaviour, after.behaviour, after.card.seed_list)
    result = CheckResult(origin=named(file), optimizer=after.spec.name, level="behaviour", lines=lines)
    console().print(writers.as_rich(writers.heads(result), writers.cells(result)))
    differ = [
        *explain.cards(before.card, after.card),
        *explain.differences(before, after.spec, after.versions, after.package, after.machine),
    ]
    bits = "the same" if before.trace.digests == after.trace.digests else "not the same"
    say([f"Traces: {bits} bits as before. What else differs: {'; '.join(differ) or 'nothing'}."])
    return True


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How a check is printed: the format, and a file for it (None: standard output)."""

    form: str = "table"
    file: Path | None = None


def compare(file: Path, request: CheckRequest, output: OutputOptions, options: ExecutionOptions) -> None:
    """`synthbench check`. Raises Refuted where behaviour changed, NotMeasured where the check is inconclusive."""
    check_choice("--format", output.form, ("table", *writers.WRITERS))
    if output.file and output.form == "table":
        raise BadInput(f"-o {named(output.file)} goes with --format {', '.join(writers.WRITERS)}.")
    check_writable(output.file)
    if output.file and files.is_file(file) and files.is_file(output.file) and file.samefile(output.file):
        raise BadInput(f"-o {named(output.file)} is the baseline itself; give another file.")
    result = check(baselines.read(file), named(file), request, options)
    shows_table = output.form == "table" or output.file is not None
    if shows_table:
        console().print(writers.as_rich(writers.heads(result), writers.cells(result)))
        say(writers.remarks(result))
    if output.form != "table":
        text = writers.WRITERS[output.form](result)
        if output.file:
            files.write(output.file, text + "\n", f"-o {named(output.file)}")
        else:
            print(text)
    if output.form == "github":
        _add_summary(result)
    if result.verdict == "changed":
        raise Refuted(writers.sentence(result))
    if result.verdict == "inconclusive":
        raise NotMeasured(writers.sentence(result))
    if shows_table:
        say([writers.sentence(result)])


def _add_summary(result: CheckResult) -> None:
    """Appends to the job's summary, where GitHub runs this."""
    if path := os.environ.get(SUMMARY):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(writers.as_markdown(result) + "\n\n")
        except OSError as error:  # the check's result counts, not its copy
            print(f"synthbench: {SUMMARY} {named(path)} cannot be written: {error.strerror}.", file=sys.stderr)


def say(lines: Sequence[str]) -> None:
    for line in lines:
        print(textwrap.fill(inert(line), min(console().width, 100), break_long_words=False, break_on_hyphens=False))
