"""`synthbench baseline` and `synthbench check`, between the command line and the parts that do the work."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from synthbench.analysis.change_test import FEWEST
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured, Refuted
from synthbench.common.terminal import console, encodable
from synthbench.common.wording import check_choice, inert, listed, named
from synthbench.execution.session import ExecutionOptions
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import baseline as baselines
from synthbench.gate import comparison, explain, writers
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import allowed, findable
from synthbench.gate.check import CheckRequest, CheckResult, check, to_check
from synthbench.gate.record import record, to_record

LEARNED = 0.2  # a mean `learning` below which a baseline holds less than it could
# Seeds that two idle CPU cores, of the kind that reports/gate.md names, check in about that time on the runner `gate`.
BUDGETS = {"20s": FEWEST, "60s": 16, "5m": 80}
SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that GitHub shows as a job's summary


def options(jobs: int | None, *, quiet: bool, command: str) -> ExecutionOptions:
    """How to train, in whatever folder."""
    return ExecutionOptions(out=Path(), jobs=jobs, keep_weights="all", quiet=quiet, command=command)


def seeds_of(budget: str | None) -> int | None:
    """How many seeds a budget allows, None without one; raises BadInput for another budget."""
    if budget is None:
        return None
    check_choice("--budget", budget, BUDGETS)
    return BUDGETS[budget]


@dataclass(frozen=True, kw_only=True)
class RecordRequest:
    """Where a baseline is recorded. file: to be written. overwrite: an existing file, having shown what changed. again: the
    experiment is that of the file, with its card and rates. results: where its runs are kept, None for nowhere."""

    file: Path
    overwrite: bool = False
    again: bool = False
    results: Path | None = None


def make(request: RunRequest, target: RecordRequest, options: ExecutionOptions) -> None:
    """`synthbench baseline`: records, prints what was recorded or what changed, writes the file."""
    file = target.file
    check_new(file, overwrite=target.overwrite)
    former = _former(file) if files.is_file(file) else None
    experiment = _recorded(former, file, request) if target.again else to_record(request)
    baseline = record(experiment, options, target.results)
    if former and target.again:  # the rates are those that this command chose
        baseline = baseline.model_copy(update={"command": former.command})
    if former is None or not _show_changes(former, baseline, file):
        _show_noise(baseline)
    baselines.write(baseline, file)
    _show_summary(baseline, file)


def check_new(file: Path, *, overwrite: bool) -> None:
    """Raises BadInput where a baseline cannot be put there: before anything is trained."""
    check_writable(file)
    if files.is_file(file) and not overwrite:
        raise BadInput(f"-o {named(file)} exists already; --overwrite shows what changed and overwrites it.")


def check_writable(file: Path) -> None:
    """Raises BadInput where a file cannot be put there."""
    if not files.is_folder(file.parent) or files.is_folder(file) or not os.access(file.parent, os.W_OK):
        raise BadInput(f"-o {named(file)} must be a file in a folder that exists and can be written.")


def _former(file: Path) -> Baseline | None:
    """The baseline that is to be overwritten; None, with a line, where it cannot be compared."""
    try:
        return baselines.read(file)
    except (NotMeasured, baselines.Edited) as error:
        say([f"{error} Changes cannot be shown."])
        return None


def _recorded(former: Baseline | None, file: Path, request: RunRequest) -> Experiment:
    """The experiment that a file recorded, with the requested seeds and device."""
    if former is None:
        raise BadInput(f"-o {named(file)} holds no baseline to record again; name its optimizer with --optimizer.")
    seeds = list(range(request.seeds)) if isinstance(request.seeds, int) else request.seeds
    device = None if request.device == "auto" else request.device
    experiment, _ = to_check(former, named(file), seeds=seeds, device=device)
    here = experiment.environment.device
    if device is None and here != former.device:
        raise BadInput(
            f"-o {named(file)} is of {former.device}, which is not here; --device {here} records it for that."
        )
    return experiment


def _show_noise(baseline: Baseline) -> None:
    """The recorded means, how far chance moves them, and what a check would find."""
    n, behaviour = len(baseline.card.seed_list), baseline.behaviour
    least, rows = findable(behaviour, n), []
    for where, scores in behaviour.values.items():
        for name, values in scores.items():
            bound = allowed(behaviour, where, name, n)
            numbers = (fmean(values.values()), behaviour.noise[where][name], bound, least[where][name])
            rows.append([where, name, *map(writers.number, numbers)])
    console().print(writers.as_rich(["stage/update", "score", "mean", "noise", "bound", "found from"], rows))
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
    learned = {where: scores.get("learning", {}).values() for where, scores in baseline.behaviour.values.items()}
    if idle := [where for where, values in learned.items() if values and fmean(values) < LEARNED]:
        say([
            f"{listed(idle)}: little was learned (learning below {LEARNED:g}), so a check finds less. Try other rates; the "
            f"best by validation is recorded: --lr 3e-4,1e-3 --set stages.{baseline.card.stages[0].name}.lr=[1e-3]."
        ])  # fmt: skip
    print(f"Next: synthbench check {inert(shlex.quote(str(file)))}")


def _show_changes(before: Baseline, after: Baseline, file: Path) -> bool:
    """Shows how a new baseline differs from the old one; returns whether they can be compared."""
    if before.tasks != after.tasks or before.card.seed_list != after.card.seed_list:
        say([f"{named(file)} was recorded on other data or seeds; its numbers do not compare with the new ones."])
        return False
    lines = comparison.behaviour(before.behaviour, after.behaviour, after.card.seed_list)
    show(CheckResult(origin=named(file), optimizer=after.spec.name, level="behaviour", lines=lines))
    differ = [*explain.cards(before.card, after.card), *explain.differences(before, after)]
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
    if output.file:
        check_writable(output.file)
        if files.is_file(file) and files.is_file(output.file) and file.samefile(output.file):
            raise BadInput(f"-o {named(output.file)} is the baseline itself; give another file.")
    result = check(baselines.read(file), named(file), request, options)
    shows_table = output.form == "table" or output.file is not None
    if shows_table:
        show(result)
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


def show(result: CheckResult) -> None:
    console().print(writers.as_rich(writers.heads(result), writers.cells(result)))


def say(lines: Sequence[str]) -> None:
    screen = console()
    for line in lines:
        text, width = encodable(inert(line), screen.encoding), min(screen.width, 100)
        print(textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False))
