"""Explanations of a check: the likeliest cause of a change, what to do next, what a check can find."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from synthbench.analysis.statistics import MOST_SEEDS
from synthbench.cards import RunnerCard
from synthbench.common.wording import listed, short, shown
from synthbench.gate.baseline import Baseline, OptimizerCard
from synthbench.gate.comparison import Level, Line, overall
from synthbench.gate.power import findable

CLOSER = {
    "exact": "--level trace tells whether the difference exceeds rounding.",
    "trace": "--level behaviour tells whether scores changed, too.",
    "behaviour": "",
}


def advice(level: Level, lines: Sequence[Line], origin: str, *, is_other: bool, is_short: bool) -> str | None:
    """What to do after a check that did not pass. origin: the baseline's file. is_other: another implementation or other
    arguments than recorded were checked, so the baseline is right as it is. is_short: not all recorded seeds were taken."""
    file, verdict = shlex.quote(origin), overall(lines)
    if verdict == "unchanged":
        return None
    if verdict == "inconclusive":
        return (
            _more_seeds(lines, file, is_short) if level == "behaviour" else "--level behaviour compares scores instead."
        )
    record = f"If the change is intended, run: synthbench baseline -o {file} --overwrite, and commit {file}."
    return " ".join(filter(None, (CLOSER[level], "" if is_other else record))) or None


def _more_seeds(lines: Sequence[Line], file: str, is_short: bool) -> str | None:
    """How many seeds are needed, where so many can be had."""
    if is_short:
        return "Without --budget all recorded seeds are compared."
    needed = max(
        (line.seeds for line in lines if line.verdict == "inconclusive" and line.seeds == line.seeds), default=0
    )
    if not 0 < needed <= MOST_SEEDS:
        return None
    return (
        "The baseline needs more seeds, recorded by the code from before the change: synthbench baseline -o "
        f"{file} --overwrite --seeds {ceil(needed)}."
    )


def power(baseline: Baseline, n: int, asked: int) -> str:
    """The smallest changes that so many seeds find: of the updates the largest."""
    least = findable(baseline.behaviour, n)
    names = dict.fromkeys(name for scores in least.values() for name in scores)
    changes = [f"{name} {max(scores[name] for scores in least.values() if name in scores):.2g}" for name in names]
    more = "" if asked <= n else f" The budget allows {asked} seeds; the baseline has only these."
    return f"{n} seeds find, with 80 % power, changes of at least: {', '.join(changes)}.{more}"


def differences(
    before: Baseline, spec: OptimizerCard, versions: Mapping[str, str], package: str, machine: str
) -> list[str]:
    """What differs from the recorded baseline, the likeliest cause of a change first, as clauses: `its routing (...)`."""
    causes = []
    if routing := _routing(before, spec):
        causes.append(routing)
    was, now = before.spec.arguments, spec.arguments
    if before.spec.name != spec.name:
        causes.append(f"the optimizer ({before.spec.name} before, {spec.name} now)")
        shared = [key for key in was if key in now]  # defaults are not known
        was, now = ({key: values[key] for key in shared} for values in (was, now))
    if changed := _changed(was, now):
        causes.append(f"its arguments ({changed})")
    if before.spec.name == spec.name and before.spec.source != spec.source:
        causes.append("the optimizer's code")
    if changed := _changed(before.versions, versions):
        causes.append(f"versions ({changed})")
    if before.package != package:
        causes.append("synthbench's training code")
    if before.machine != machine:
        causes.append(f"the processor ({before.machine} before, {machine} now)")
    return causes


def cause(differ: list[str]) -> str:
    """The likeliest cause of a change, in a sentence."""
    if not differ:
        return "No recorded cause differs: it comes from outside of the optimizer's file and the packages' versions."
    rest = f"; {listed(differ[1:])} differ{'s' * (len(differ) == 2)}, too" if len(differ) > 1 else ""
    return f"Likeliest cause: {differ[0]} changed{rest}."


def cards(before: RunnerCard, after: RunnerCard) -> list[str]:
    """What two cards ask differently: rates by stage and update, and all else."""
    asked = []
    if changed := _changed(rates(before), rates(after)):
        asked.append(f"learning rates ({changed})")
    was, now = (
        card.model_copy(
            update={"stages": [stage.model_copy(update={"lr": {}}) for stage in card.stages], "arguments": {}}
        )
        for card in (before, after)
    )
    if was.fingerprint() != now.fingerprint():
        asked.append("the card (steps, decay or what it measures)")
    return asked


def rates(card: RunnerCard) -> dict[str, float]:
    """The one rate of every stage and update, of a card whose rates are fixed."""
    return {
        f"{stage.name}/{update}": grid[0]
        for stage in card.stages if isinstance(stage.lr, dict)
        for by_update in stage.lr.values() if isinstance(by_update, dict)
        for update, grid in by_update.items()
    }  # fmt: skip


def _routing(before: Baseline, spec: OptimizerCard) -> str | None:
    """Routing with the optimizers' own names taken out: another implementation has another name."""
    was = [(pattern, "itself" if name == before.spec.name else name) for pattern, name in before.spec.routing]
    now = [(pattern, "itself" if name == spec.name else name) for pattern, name in spec.routing]
    was, now = ([(pattern, _plain(name)) for pattern, name in table] for table in (was, now))
    if was == now:
        return None
    moved = [f"{pattern} to {name}" for pattern, name in now if (pattern, name) not in was]
    return f"its routing ({listed(moved) if moved else 'in another order'}; before {listed(f'{p} to {n}' for p, n in was)})"


def _plain(name: str) -> str:
    """The AdamW beside a plug-in is the built-in one."""
    return "adamw" if name == "adamw-beside" else name


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return listed(f"{key}: {_value(before, key)} before, {_value(after, key)} now" for key in keys) if keys else ""


def _value(values: Mapping[str, Any], key: str) -> str:
    return short(shown(values[key]), 60) if key in values else "not given"
