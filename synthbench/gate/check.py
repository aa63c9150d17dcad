"""A check: what a baseline recorded is measured again, by its own optimizer or another one, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbench import plugins
from synthbench.analysis.change_test import Verdict
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.wording import did_you_mean, listed, named, shown
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.experiment import identity
from synthbench.experiment.plan import Experiment, Plan
from synthbench.gate import candidate, comparison, explain
from synthbench.gate.baseline import Baseline, OptimizerCard
from synthbench.gate.behaviour import EARLY, OF_WEIGHTS, behaviour
from synthbench.gate.comparison import LEVELS, Level, Line
from synthbench.gate.record import folder
from synthbench.store.members import usable_results
from synthbench.store.results import DATABASE, Store


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
    level = level_of(request)
    seeds = baseline.card.seed_list[: request.seeds] if request.seeds else None
    asked = candidate.Candidate(
        optimizer=request.optimizer, settings=request.settings, device=request.device, seeds=seeds
    )
    experiment, notes = candidate.to_check(baseline, origin, asked)
    comparable(baseline, experiment, origin)
    can_trace, blind = traceable(baseline, experiment, level), comparison.uninformative(baseline.trace)
    chosen: Level = level or ("trace" if can_trace and not blind else "behaviour")
    if level is None and can_trace and blind:
        notes = [
            *notes, f"The traces of {listed(blind)} are uninformative: rounding error dominates. Scores are compared."
        ]  # fmt: skip
    (spec,) = map(OptimizerCard.of, experiment.optimizers.values())
    machine = identity.device_name(experiment.environment.device)
    differ = explain.differences(baseline, spec, versions(experiment), identity.package_fingerprint(), machine)
    if chosen == "behaviour":
        lines, more = _behaviour(baseline, experiment, request, options)
    else:
        lines, more = _traces(baseline, experiment, chosen), []
    is_other = spec.name != baseline.spec.name or bool(request.settings)
    is_short = seeds is not None and len(seeds) < len(baseline.card.seed_list)
    return CheckResult(
        origin=origin, optimizer=spec.name, level=chosen, lines=lines, notes=[*notes, *more],
        cause=explain.cause(differ) if comparison.overall(lines) == "changed" else None,
        advice=explain.advice(chosen, lines, origin, is_other=is_other, is_short=is_short),
    )  # fmt: skip


def level_of(request: CheckRequest) -> Level | None:
    """The level that is requested; stored results are compared by their scores."""
    for level in LEVELS:
        if request.level == level:
            for option, value in (("--results", request.results), ("--budget", request.seeds)):
                if value is not None and level != "behaviour":
                    raise BadInput(
                        f"{option} goes with --level behaviour; --level {level} takes its own runs and seeds."
                    )
            return level
    if request.level is not None:
        raise BadInput(f"--level {shown(request.level)} is not allowed{did_you_mean(request.level, LEVELS)}.")
    return "behaviour" if request.results is not None or request.seeds is not None else None


def comparable(baseline: Baseline, experiment: Experiment, origin: str) -> None:
    """Raises NotMeasured where the data is not that of the baseline."""
    if experiment.tasks.keys() != baseline.tasks.keys():
        raise NotMeasured(
            f"{origin}: task mismatch: recorded {listed(baseline.tasks)}, card has {listed(experiment.tasks)}."
        )
    for task, mark in baseline.tasks.items():
        now = experiment.tasks[task].fingerprint
        if now != mark:
            raise NotMeasured(
                f"{origin}: task {named(task)} is not the one that was recorded (fingerprint {mark[:12]} then, {now[:12]} "
                "now), so nothing compares; record the baseline again."
            )


def traceable(baseline: Baseline, experiment: Experiment, level: Level | None) -> bool:
    """Whether the device is of the recorded kind; raises NotMeasured where the requested level needs that."""
    now = experiment.environment.device
    if now != baseline.device and level in ("exact", "trace"):
        raise NotMeasured(
            f"--level {level} compares on one kind of device; the baseline is of {baseline.device}, this is {now}. Use "
            "--level behaviour."
        )
    return now == baseline.device


def versions(experiment: Experiment) -> dict[str, str]:
    """The versions that a check is made with, as results record them."""
    numbers = identity.versions()
    for spec in experiment.optimizers.values():
        numbers |= plugins.made_with(spec.name)
    return numbers


def _traces(baseline: Baseline, experiment: Experiment, level: Level) -> list[Line]:
    from synthbench.gate.traces import traces

    if level == "exact":
        same_bits(baseline, experiment)
    after = traces(experiment, baseline.trace.seeds)
    recorded = {name: values.keys() for name, values in baseline.trace.values.items()}
    if {trace.name: trace.values.keys() for trace in after} != recorded:
        raise NotMeasured(
            "The baseline's traces are of other groups of parameters than this version's; record it again."
        )
    if level == "exact":
        return comparison.exact(baseline.trace, {trace.name: trace.digests for trace in after})
    return comparison.traces(baseline.trace, after)


def same_bits(baseline: Baseline, experiment: Experiment) -> None:
    """Raises NotMeasured where bits are not expected to be the same."""
    now = versions(experiment)
    machine = identity.device_name(experiment.environment.device)
    differing = [
        f"{name} {before} then, {after} now"
        for name, before, after in (
            ("torch", baseline.versions.get("torch", "none"), now["torch"]),
            ("synthbench's training code", baseline.package[:12], identity.package_fingerprint()[:12]),
            ("processor", baseline.machine, machine),
        )
        if before != after
    ]
    if differing:
        raise NotMeasured(f"--level exact needs what was recorded: {'; '.join(differing)}. Use --level trace.")


def _behaviour(
    baseline: Baseline, experiment: Experiment, request: CheckRequest, options: ExecutionOptions
) -> tuple[list[Line], list[str]]:
    """Lines, and notes on them."""
    if request.results is not None:
        check_results(experiment, request.results)
    with folder(request.results) as out:
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
