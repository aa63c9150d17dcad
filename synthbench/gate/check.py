"""A check: what a baseline recorded is measured again, by its own optimizer or another one, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from synthbench import plugins
from synthbench.analysis.change_test import Verdict
from synthbench.cards import RunnerCard, parse
from synthbench.common import files, overrides
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.wording import check_choice, listed, named
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.execution.trials import tried
from synthbench.experiment import identity
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import experiment_of
from synthbench.gate import comparison, explain
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import EARLY, OF_WEIGHTS, behaviour
from synthbench.gate.comparison import LEVELS, Level, Line
from synthbench.gate.record import provenance
from synthbench.plugins import generators
from synthbench.store.members import usable_results
from synthbench.store.results import DATABASE, Store
from synthbench.trainer.optimizers import OPTIMIZERS


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """origin: the baseline's file. optimizer: as it stands in tables. cause: a sentence on the likeliest cause of a change.
    notes: remarks. advice: what to do next, where the verdict is not unchanged."""

    origin: str
    optimizer: str
    level: Level
    lines: Sequence[Line]
    cause: str | None = None
    notes: Sequence[str] = ()
    advice: str | None = None

    @property
    def verdict(self) -> Verdict:
        """`changed`, `unchanged` or `inconclusive`."""
        return comparison.overall(self.lines)


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """What to check. optimizer: another implementation than the baseline's, by name or itself. results: a folder that holds
    the runs already. seeds: how many of the recorded ones, None for all. device: None for the recorded kind, where it is
    there."""

    optimizer: Any = None
    settings: Sequence[str] = ()
    level: str | None = None
    results: Path | None = None
    seeds: int | None = None
    device: str | None = None


def check(baseline: Baseline, origin: str, request: CheckRequest, options: ExecutionOptions) -> CheckResult:
    """Measures what a baseline recorded and compares; raises BadInput for what is wrong, NotMeasured where the two cannot
    be compared."""
    options.check()
    seeds = baseline.card.seed_list[: request.seeds] if request.seeds else None
    experiment, notes = to_check(
        baseline, origin, optimizer=request.optimizer, changes=request.settings, device=request.device, seeds=seeds
    )
    now = baseline.model_copy(update=provenance(experiment))
    if now.tasks != baseline.tasks:
        raise NotMeasured(
            f"{origin}: task mismatch: recorded {_tasks(baseline)}, card has {_tasks(now)}; record the baseline again."
        )
    level, why = level_of(request, baseline, now)
    if level == "behaviour":
        lines, more = _behaviour(baseline, experiment, request, options)
    else:
        check_traceable(baseline, now, level)
        lines, more = _traces(baseline, experiment, level), []
    is_other = now.spec.name != baseline.spec.name or bool(request.settings)
    is_short = seeds is not None and len(seeds) < len(baseline.card.seed_list)
    is_changed = comparison.overall(lines) == "changed"
    return CheckResult(
        origin=origin, optimizer=now.spec.name, level=level, lines=lines, notes=[*notes, *why, *more],
        cause=explain.cause(explain.differences(baseline, now)) if is_changed else None,
        advice=explain.advice(level, lines, origin, is_other=is_other, is_short=is_short),
    )  # fmt: skip


def to_check(
    baseline: Baseline, origin: str, *, optimizer: Any = None, changes: Sequence[str] = (), device: str | None = None,
    seeds: Sequence[int] | None = None,
) -> tuple[Experiment, list[str]]:  # fmt: skip
    """The experiment that a baseline recorded, with its optimizer or another one at the same rates and arguments, and notes
    on it. changes: `optimizer.ARG=value` and `routing=all|hidden`, as in `run`. Raises BadInput."""
    recorded, content = baseline.spec.name, baseline.card.model_dump(mode="json", by_alias=True)
    label, arguments, notes = _label(baseline, origin, optimizer), dict(content["arguments"].get(recorded, {})), []
    content["optimizers"] = [label]
    for stage in content["stages"]:
        stage["lr"] = {label: stage["lr"][recorded]}
    if label != recorded:
        if refused := [name for name, value in arguments.items() if not accepts(label, name, value)]:
            arguments = {name: value for name, value in arguments.items() if name not in refused}
            notes.append(f"{label} takes no {listed(refused)}, which the baseline was given.")
        if plugins.plugin_of(label) and "routing" not in arguments:
            is_alone = len({name for _, name in baseline.spec.routing}) == 1  # no other takes embeddings, head, vectors
            arguments["routing"] = "all" if is_alone else "hidden"
    content["arguments"] = {label: arguments}
    for change in changes:
        where, value = overrides.parse(change)
        if where != ["routing"] and (len(where) != 2 or where[0] != "optimizer"):
            raise BadInput(
                f"--set {named(change)}: a check changes nothing of what the baseline recorded but its optimizer; allowed "
                "are optimizer.ARG=value and routing=all|hidden."
            )
        if where == ["routing"] and not plugins.plugin_of(label):
            raise BadInput(f"--set {named(change)} is for plug-ins; {label} has a fixed routing.")
        overrides.put(content, ["arguments", label, where[-1]], value, "--set")
    if seeds is not None:
        content["seeds"] = list(seeds)
    if device is None:
        device = "cpu" if baseline.device == "cuda" and not identity.cuda_devices() else baseline.device
    source = f"{origin} with --set" if changes else origin
    return tried(experiment_of(parse(RunnerCard, content, source), source, identity.device_kind(device))), notes


def _label(baseline: Baseline, origin: str, optimizer: Any) -> str:
    """The label of an optimizer, by default the baseline's; raises BadInput where that is gone."""
    if optimizer:
        return plugins.name_of(optimizer, "--optimizer")
    if baseline.optimizer not in OPTIMIZERS:
        generators.announce(Path(origin), baseline.optimizer)  # a baseline may come from somebody else
    try:
        return plugins.name_of(baseline.optimizer, f"{origin}: optimizer")
    except BadInput as error:
        raise BadInput(f"{error} If it was renamed or moved, name it with --optimizer.") from None


def accepts(label: str, name: str, value: Any) -> bool:
    """Whether an optimizer takes an argument of this name and value."""
    try:
        OPTIMIZERS[label].arguments.model_validate({name: value})
    except ValidationError:
        return False
    return True


def _tasks(baseline: Baseline) -> str:
    return listed(f"{named(task)} (fingerprint {mark[:12]})" for task, mark in baseline.tasks.items())


def level_of(request: CheckRequest, baseline: Baseline, now: Baseline) -> tuple[Level, list[str]]:
    """The requested level, or the finest that is possible and informative on any processor, and notes on it."""
    given = [name for name, value in (("--results", request.results), ("--budget", request.seeds)) if value is not None]
    if request.level is not None:
        check_choice("--level", request.level, LEVELS)
        if given and request.level != "behaviour":
            raise BadInput(
                f"{given[0]} goes with --level behaviour; --level {request.level} takes its own runs and seeds."
            )
        return next(level for level in LEVELS if level == request.level), []
    if given or now.device != baseline.device:
        return "behaviour", []
    if blind := comparison.uninformative(baseline.trace):
        note = f"The traces of {listed(blind)} are uninformative: rounding error dominates. Scores are compared."
        return "behaviour", [note]
    return "trace", []


def check_traceable(baseline: Baseline, now: Baseline, level: Level) -> None:
    """Raises NotMeasured where traces are of another kind of device, or bits are not expected to be the same."""
    if now.device != baseline.device:
        raise NotMeasured(
            f"--level {level} compares on one kind of device; the baseline is of {baseline.device}, this is {now.device}. "
            "Use --level behaviour."
        )
    pairs = {
        "torch": (baseline.versions.get("torch", "none"), now.versions["torch"]),
        "synthbench's training code": (baseline.package[:12], now.package[:12]),
        "processor": (baseline.machine, now.machine),
    }
    differing = [f"{name} {before} then, {after} now" for name, (before, after) in pairs.items() if before != after]
    if level == "exact" and differing:
        raise NotMeasured(f"--level exact needs what was recorded: {'; '.join(differing)}. Use --level trace.")


def _traces(baseline: Baseline, experiment: Experiment, level: Level) -> list[Line]:
    from synthbench.gate.traces import traces

    after = traces(experiment, baseline.trace.seeds)
    recorded = {name: values.keys() for name, values in baseline.trace.values.items()}
    if {trace.name: trace.values.keys() for trace in after} != recorded:
        raise NotMeasured(
            "The baseline's traces are of other groups of parameters than this version's; record it again."
        )
    if level == "exact":
        return comparison.exact(baseline.trace, {trace.name: trace.digests for trace in after})
    return comparison.traces(baseline.trace, after)


def _behaviour(
    baseline: Baseline, experiment: Experiment, request: CheckRequest, options: ExecutionOptions
) -> tuple[list[Line], list[str]]:
    """Lines, and notes on them."""
    if request.results is not None:
        check_results(experiment, request.results)
    with TemporaryDirectory(prefix="synthbench-") as temporary:
        out = request.results or Path(temporary)
        perform(experiment, replace(options, out=out, is_temporary=request.results is None))
        after = behaviour(out, experiment)
    seeds = experiment.card.seed_list
    lines, notes = comparison.behaviour(baseline.behaviour, after, seeds), list[str]()
    runs = {line.where: line.n for line in lines if line.what == EARLY}
    if request.results and any(line.n < runs.get(line.where, 0) for line in lines if line.what.startswith(OF_WEIGHTS)):
        notes.append(f"{named(request.results)} lacks some weights; run with --keep-weights all to compare them.")
    if request.seeds:
        notes.append(explain.power(baseline, len(seeds), request.seeds))
    if seeds == baseline.card.seed_list and comparison.overall(lines) == "changed":
        notes += filter(None, [comparison.divergence(baseline.behaviour, after)])
    return lines, notes


def check_results(experiment: Experiment, folder: Path) -> None:
    """Raises BadInput where a folder holds no results, NotMeasured where it lacks some of an experiment's runs."""
    if not files.is_file(folder / DATABASE):
        raise BadInput(f"--results {named(folder)} holds no results; leave --results out to train what is compared.")
    with closing(Store.read(folder)) as store:
        missing = len(Plan(experiment, usable_results(experiment, store)).remaining())
    if missing:
        planned = len(Plan(experiment, {}).remaining())
        raise NotMeasured(
            f"--results {named(folder)} lacks {missing} of the {planned} runs that the baseline means (trained by this "
            "code, with its card, rates and seeds); leave --results out to train them."
        )
