"""A check: what a baseline recorded is measured again, by its own optimizer or another one, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbench.analysis.change_test import Verdict
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.wording import did_you_mean, listed, named, shown
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.experiment import identity
from synthbench.experiment.plan import Experiment, Plan
from synthbench.gate import advice, candidate, comparison, explain
from synthbench.gate.baseline import Baseline, OptimizerCard
from synthbench.gate.behaviour import behaviour
from synthbench.gate.comparison import LEVELS, Level, Line
from synthbench.gate.ends import EARLY, OF_WEIGHTS
from synthbench.gate.place import folder
from synthbench.gate.power import findable
from synthbench.store.members import usable_results
from synthbench.store.results import DATABASE, Store


@dataclass(frozen=True)
class Checked:
    """What a check found. origin: the baseline's file. optimizer: as it stands in tables. cause: a sentence on the
    likeliest cause, where something changed. notes: what else is to be said. advice: what to do next, where it is not
    unchanged."""

    origin: str
    optimizer: str
    level: Level
    lines: Sequence[Line]
    cause: str | None
    notes: Sequence[str]
    advice: str | None = None

    @property
    def verdict(self) -> Verdict:
        return comparison.overall(self.lines)


@dataclass(frozen=True)
class CheckRequest:
    """What a check is to do. optimizer: another implementation than the baseline's, by name or itself. results: a
    folder in which the runs are already. seeds: how many of the recorded ones, None for all. device: None for the recorded
    kind, where it is there."""

    optimizer: Any = None
    settings: Sequence[str] = ()
    level: str | None = None
    results: Path | None = None
    seeds: int | None = None
    device: str | None = None


def check(baseline: Baseline, origin: str, wanted: CheckRequest, options: ExecutionOptions) -> Checked:
    """Measures what a baseline recorded and compares; raises BadInput for what is wrong, NotMeasured where the two cannot
    be compared."""
    options.check()
    level = level_of(wanted)
    seeds = baseline.card.seed_list[: wanted.seeds] if wanted.seeds else None
    own = candidate.Subject(wanted.optimizer, wanted.settings, wanted.device, seeds)
    experiment, notes = candidate.to_check(baseline, origin, own)
    comparable(baseline, experiment, origin)
    can_trace, blind = traceable(baseline, experiment, level), comparison.blind(baseline.trace)
    chosen: Level = level or ("trace" if can_trace and not blind else "behaviour")
    if level is None and can_trace and blind:
        notes = [
            *notes,
            f"The traces of {listed(blind)} tell nothing, for rounding parts them; so scores are compared.",
        ]
    (spec,) = map(OptimizerCard.of, experiment.optimizers.values())
    machine = identity.device_name(experiment.environment.device)
    differ = explain.differences(baseline, spec, versions(experiment), identity.package_fingerprint(), machine)
    if chosen == "behaviour":
        lines, more = _behaviour(baseline, experiment, wanted, options)
    else:
        lines, more = _traces(baseline, experiment, chosen), []
    is_changed = comparison.overall(lines) == "changed"
    said = explain.sentence(differ) if is_changed else None
    is_other = spec.name != baseline.spec.name or bool(wanted.settings)
    is_short = seeds is not None and len(seeds) < len(baseline.card.seed_list)
    todo = advice.after(chosen, lines, origin, is_other, is_short)
    return Checked(origin, spec.name, chosen, lines, said, [*notes, *more], todo)


def power(baseline: Baseline, n: int, asked: int) -> str:
    """What so many seeds find, in a sentence: of the updates the largest."""
    least = findable(baseline.behaviour, n)
    names = dict.fromkeys(name for own in least.values() for name in own)
    told = [f"{name} {max(own[name] for own in least.values() if name in own):.2g}" for name in names]
    more = "" if asked <= n else f" The budget allows {asked}; record the baseline with it, for it has only these."
    return f"{n} seeds find, with 80 % probability, changes from: {', '.join(told)}.{more}"


def level_of(wanted: CheckRequest) -> Level | None:
    """The level that is asked for; stored results are compared by their scores."""
    for level in LEVELS:
        if wanted.level == level:
            for option, given in (("--results", wanted.results), ("--budget", wanted.seeds)):
                if given is not None and level != "behaviour":
                    raise BadInput(
                        f"{option} goes with --level behaviour; --level {level} takes its own runs and seeds."
                    )
            return level
    if wanted.level is not None:
        raise BadInput(f"--level {shown(wanted.level)} is not allowed{did_you_mean(wanted.level, LEVELS)}.")
    return "behaviour" if wanted.results is not None or wanted.seeds is not None else None


def comparable(baseline: Baseline, experiment: Experiment, origin: str) -> None:
    """Raises NotMeasured where the data is not that of the baseline."""
    if experiment.tasks.keys() != baseline.tasks.keys():
        raise NotMeasured(
            f"{origin}: it is of task {listed(baseline.tasks)}, and its card of {listed(experiment.tasks)}."
        )
    for task, mark in baseline.tasks.items():
        now = experiment.tasks[task].fingerprint
        if now != mark:
            raise NotMeasured(
                f"{origin}: task {named(task)} is not the one that was recorded (fingerprint {mark[:12]} then, {now[:12]} "
                "now), so nothing compares; record the baseline anew."
            )


def traceable(baseline: Baseline, experiment: Experiment, level: Level | None) -> bool:
    """Whether the device is of the recorded kind; raises NotMeasured where the level that was asked for needs that."""
    now = experiment.environment.device
    if now != baseline.device and level in ("exact", "trace"):
        raise NotMeasured(
            f"--level {level} compares on one kind of device; the baseline is of {baseline.device}, this is {now}. Use "
            "--level behaviour."
        )
    return now == baseline.device


def versions(experiment: Experiment) -> dict[str, str]:
    """What a check is made with, as results have it."""
    from synthbench import plugins

    found = identity.versions()
    for spec in experiment.optimizers.values():
        found |= plugins.made_with(spec.name)
    return found


def _traces(baseline: Baseline, experiment: Experiment, level: Level) -> list[Line]:
    from synthbench.gate.traces import traces

    if level == "exact":
        same_bits(baseline, experiment)
    after = traces(experiment, baseline.trace.seeds)
    if {one.name: one.values.keys() for one in after} != {k: own.keys() for k, own in baseline.trace.values.items()}:
        raise NotMeasured(
            "The baseline's traces are of other groups of parameters than this version's; record it anew."
        )
    if level == "exact":
        return comparison.exact(baseline.trace, {one.name: one.digests for one in after})
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
    baseline: Baseline, experiment: Experiment, wanted: CheckRequest, options: ExecutionOptions
) -> tuple[list[Line], list[str]]:
    """Lines, and what is to be said of them."""
    if wanted.results is not None:
        there(experiment, wanted.results)
    with folder(wanted.results) as place:
        perform(experiment, replace(options, out=place, is_temporary=wanted.results is None))
        after = behaviour(place, experiment)
    seeds = experiment.card.seed_list
    lines, notes = comparison.behaviour(baseline.behaviour, after, seeds), list[str]()
    runs = {line.where: line.n for line in lines if line.what == EARLY}
    if wanted.results and any(line.n < runs.get(line.where, 0) for line in lines if line.what.startswith(OF_WEIGHTS)):
        notes.append(f"{named(wanted.results)} has not all the weights; run with --keep-weights all to compare them.")
    if wanted.seeds:
        notes.append(power(baseline, len(seeds), wanted.seeds))
    parting = comparison.parting(baseline.behaviour, after) if seeds == baseline.card.seed_list else None
    if parting and comparison.overall(lines) == "changed":
        notes.append(parting)
    return lines, notes


def there(experiment: Experiment, place: Path) -> None:
    """Raises BadInput where a folder holds no results, NotMeasured where it lacks some of an experiment's runs."""
    if not files.is_file(place / DATABASE):
        raise BadInput(f"--results {named(place)} holds no results; leave --results out to train what is compared.")
    with closing(Store.read(place)) as store:
        missing = len(Plan(experiment, usable_results(experiment, store)).remaining())
    if missing:
        planned = len(Plan(experiment, {}).remaining())
        raise NotMeasured(
            f"--results {named(place)} lacks {missing} of the {planned} runs that the baseline means (trained by this "
            "code, with its card, rates and seeds); leave --results out to train them."
        )
