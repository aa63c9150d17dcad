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
from synthbench.common.wording import did_you_mean, inert, listed, named, shown
from synthbench.execution.session import ExecutionOptions
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import candidate, comparison, explain, stored, writers
from synthbench.gate.baseline import Baseline
from synthbench.gate.check import Checked, CheckRequest, check
from synthbench.gate.place import folder
from synthbench.gate.power import allowed, findable, seeds
from synthbench.gate.record import record

__all__ = ["CheckRequest", "OutputOptions", "Target", "compare", "make", "options", "seeds"]

LEARNED = 0.2  # a mean `learning` below which a baseline holds less than it could
SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that GitHub shows as a job's summary


def options(jobs: int | None, quiet: bool, command: str) -> ExecutionOptions:
    """How to run, wherever that is."""
    return ExecutionOptions(
        out=Path(), jobs=jobs, keep_weights="all", quiet=quiet,
        command=command,
    )  # fmt: skip


@dataclass(frozen=True)
class Target:
    """file: where a baseline goes. update: overwrite what is there, having shown what moved. again: what is recorded is
    what the file recorded, with its card and rates. results: where its runs are kept, None for nowhere."""

    file: Path
    update: bool = False
    again: bool = False
    results: Path | None = None


def make(asked: RunRequest, target: Target, options: ExecutionOptions) -> None:
    """`synthbench baseline`."""
    file, update = target.file, target.update
    options.check()
    writable(file)
    is_there = files.is_file(file)
    if is_there and not update:
        raise BadInput(f"-o {named(file)} is there already; --update shows what moved and overwrites it.")
    before = former(file) if is_there else None
    experiment = recorded(before, file, asked) if target.again else candidate.to_record(asked)
    (label,) = experiment.card.optimizers
    taken = plugins.TAKEN.get(label)
    name = taken.origin if taken and isinstance(taken.origin, str) else label
    with folder(target.results) as place:
        found = record(experiment, name, replace(options, out=place, is_temporary=target.results is None))
    if before is not None and target.again:  # the rates are those that this command chose
        found = found.model_copy(update={"command": before.command})
    if before is None or not moved(before, found, file):
        noises(found)
    stored.write(found, file)
    summary(found, file)


def recorded(before: Baseline | None, file: Path, asked: RunRequest) -> Experiment:
    """What a file recorded, with the seeds and on the device that are asked for."""
    if before is None:
        raise BadInput(
            f"-o {named(file)} holds no baseline that --update could record again; say what is recorded with --optimizer."
        )
    seeds = list(range(asked.seeds)) if isinstance(asked.seeds, int) else asked.seeds
    device = None if asked.device == "auto" else asked.device
    experiment, notes = candidate.to_check(before, named(file), candidate.Subject(seeds=seeds, device=device))
    found = experiment.environment.device
    if device is None and found != before.device:
        raise BadInput(
            f"-o {named(file)} is of {before.device}, which is not here; --device {found} records it for that."
        )
    say(notes)
    return experiment


def writable(file: Path | None) -> None:
    """Raises BadInput where a file cannot be put there: before anything is trained."""
    if file is None:
        return
    if not files.is_folder(file.parent) or files.is_folder(file) or not os.access(file.parent, os.W_OK):
        raise BadInput(f"-o {named(file)} must be a file in a folder that is there and can be written.")


def former(file: Path) -> Baseline | None:
    """What is to be overwritten; nothing where it cannot be compared, which is said."""
    try:
        return stored.read(file)
    except NotMeasured as error:
        say([f"{error} What moved cannot be shown."])
        return None


def noises(found: Baseline) -> None:
    """What was recorded, how far chance moves it, and what a check would find."""
    n = len(found.card.seed_list)
    least = findable(found.behaviour, n)
    rows = [
        [where, name, *map(writers.number, (fmean(values.values()), found.behaviour.noise[where][name],
                                            allowed(found.behaviour, where, name, n), least[where][name]))]
        for where, own in found.behaviour.values.items() for name, values in own.items()
    ]  # fmt: skip
    heads = ["stage/update", "score", "mean", "noise", "bound", "found from"]
    console().print(writers.as_rich(heads, rows))
    say([
        "noise: how far apart two halves of the seeds are; bound: how far a mean may move; found from: the change that "
        f"{n} seeds find with 80 % probability."
    ])  # fmt: skip


def summary(found: Baseline, file: Path) -> None:
    """What was recorded, what it is worth, and what to type next."""
    n, blind = len(found.card.seed_list), comparison.blind(found.trace)
    traced = (
        f"The traces of {listed(blind)} tell nothing, for rounding parts them; lower rates may calm them."
        if blind
        else f"Traces of {len(found.trace.seeds)} seeds find far smaller changes than scores."
    )
    rates = ", ".join(f"{where} {writers.number(rate)}" for where, rate in explain.rates(found.card).items())
    say([f"Recorded: {found.spec.name} on {listed(found.tasks)}, {n} seeds, {found.device}; rates: {rates}. {traced}"])
    if idle := unlearned(found):
        say([
            f"Of {listed(idle)} little was learned (learning below {LEARNED:g}), so a check sees less: try other rates, of "
            f"which the best by validation is recorded: --lr 3e-4,1e-3 --set stages.{found.card.stages[0].name}.lr=[1e-3]."
        ])  # fmt: skip
    print(f"Next: synthbench check {inert(shlex.quote(str(file)))}")


def unlearned(found: Baseline) -> list[str]:
    """Where the recorded rates taught little."""
    learned = {where: own.get("learning", {}).values() for where, own in found.behaviour.values.items()}
    return [where for where, values in learned.items() if values and fmean(values) < LEARNED]


def moved(before: Baseline, after: Baseline, file: Path) -> bool:
    """Shows what a new baseline has that the old one had not; whether the two compare."""
    if before.tasks != after.tasks or before.card.seed_list != after.card.seed_list:
        say([f"{named(file)} was recorded on other data or seeds; its numbers do not compare with the new ones."])
        return False
    lines = comparison.behaviour(before.behaviour, after.behaviour, after.card.seed_list)
    checked = Checked(named(file), after.spec.name, "behaviour", lines, None, [])
    console().print(writers.as_rich(writers.heads(checked), writers.cells(checked)))
    differ = [
        *explain.cards(before.card, after.card),
        *explain.differences(before, after.spec, after.versions, after.package, after.machine),
    ]
    same = before.trace.digests == after.trace.digests
    say(
        [
            f"Traces: {'the same' if same else 'not the same'} bits as before. What else differs: "
            f"{'; '.join(differ) or 'nothing'}."
        ]
    )
    return True


@dataclass(frozen=True)
class OutputOptions:
    """How a check is told: the form, and a file for it (none: standard output)."""

    form: str = "table"
    file: Path | None = None


def compare(file: Path, wanted: CheckRequest, told: OutputOptions, options: ExecutionOptions) -> None:
    """`synthbench check`. Raises Refuted where behaviour changed, NotMeasured where that could not be told."""
    forms = ("table", *writers.WRITERS)
    if told.form not in forms:
        raise BadInput(f"--format {shown(told.form)} is not allowed{did_you_mean(told.form, forms)}.")
    if told.file and told.form == "table":
        raise BadInput(f"-o {named(told.file)} goes with --format {', '.join(writers.WRITERS)}.")
    writable(told.file)
    if told.file and files.is_file(file) and files.is_file(told.file) and file.samefile(told.file):
        raise BadInput(f"-o {named(told.file)} is the baseline itself; give another file.")
    found = check(stored.read(file), named(file), wanted, options)
    if told.form == "table" or told.file:
        console().print(writers.as_rich(writers.heads(found), writers.cells(found)))
        say(writers.remarks(found))
    if told.form != "table":
        text = writers.WRITERS[told.form](found)
        if told.file:
            files.write(told.file, text + "\n", f"-o {named(told.file)}")
        else:
            print(text)
    if told.form == "github":
        add_summary(found)
    if found.verdict == "changed":
        raise Refuted(writers.sentence(found))
    if found.verdict == "could not tell":
        raise NotMeasured(writers.sentence(found))
    if told.form == "table" or told.file:
        say([writers.sentence(found)])


def add_summary(found: Checked) -> None:
    """Appends to the job's summary, where GitHub runs this."""
    if place := os.environ.get(SUMMARY):
        try:
            with Path(place).open("a", encoding="utf-8") as file:
                file.write(writers.as_markdown(found) + "\n\n")
        except OSError as error:  # a check that measured tells what it found
            print(f"synthbench: {SUMMARY} {named(place)} cannot be written: {error.strerror}.", file=sys.stderr)


def say(lines: Sequence[str]) -> None:
    for line in lines:
        print(textwrap.fill(inert(line), min(console().width, 100), break_long_words=False, break_on_hyphens=False))
