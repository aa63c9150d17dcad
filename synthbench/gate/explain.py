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
from synthbench.gate.behaviour import findable
from synthbench.gate.comparison import Level, Line, overall

SAME = {"adamw-beside": "adamw"}  # the AdamW beside a plug-in is the built-in one
CLOSER = {
    "exact": "--level trace tells whether the difference exceeds rounding. ",
    "trace": "--level behaviour tells whether scores changed, too. ",
    "behaviour": "",
}


def advice(level: Level, lines: Sequence[Line], origin: str, *, is_other: bool, is_short: bool) -> str | None:
    """What to do after a check that did not pass. origin: the baseline's file. is_other: another implementation or other
    arguments than recorded were checked, so the baseline is right as it is. is_short: not all recorded seeds were taken."""
    file, verdict = shlex.quote(origin), overall(lines)
    if verdict == "changed":
        record = f"If the change is intended, run: synthbench baseline -o {file} --overwrite, and commit {file}."
        return (CLOSER[level] + ("" if is_other else record)).strip() or None
    if verdict == "unchanged":
        return None
    if level != "behaviour":
        return "--level behaviour compares scores instead."
    if is_short:
        return "Without --budget all recorded seeds are compared."
    needed = max((line.seeds for line in lines if line.verdict == verdict and line.seeds == line.seeds), default=0)
    if not 0 < needed <= MOST_SEEDS:
        return None
    return (
        "The baseline needs more seeds, recorded by the code from before the change: synthbench baseline -o "
        f"{file} --overwrite --seeds {ceil(needed)}."
    )


def power(baseline: Baseline, n: int, requested: int) -> str:
    """The smallest changes that so many seeds find: the largest of all updates."""
    least = findable(baseline.behaviour, n)
    names = dict.fromkeys(name for scores in least.values() for name in scores)
    changes = [f"{name} {max(scores[name] for scores in least.values() if name in scores):.2g}" for name in names]
    more = "" if requested <= n else f" The budget allows {requested} seeds; the baseline has only these."
    return f"{n} seeds find, with 80 % power, changes of at least: {', '.join(changes)}.{more}"


def differences(before: Baseline, after: Baseline) -> list[str]:
    """How two records differ, the likeliest cause of a change first: clauses such as `its routing (...)`."""
    causes, old, new = [], before.spec, after.spec
    if routing := _routing(old, new):
        causes.append(routing)
    was, now = old.arguments, new.arguments
    if old.name != new.name:
        causes.append(f"the optimizer ({old.name} before, {new.name} now)")
        shared = was.keys() & now.keys()  # defaults are not known
        was, now = ({key: value for key, value in values.items() if key in shared} for values in (was, now))
    if changed := _changed(was, now):
        causes.append(f"its arguments ({changed})")
    if old.name == new.name and old.source != new.source:
        causes.append("the optimizer's code")
    if changed := _changed(before.versions, after.versions):
        causes.append(f"versions ({changed})")
    if before.package != after.package:
        causes.append("synthbench's training code")
    if before.machine != after.machine:
        causes.append(f"the processor ({before.machine} before, {after.machine} now)")
    return causes


def cause(differences: Sequence[str]) -> str:
    """The likeliest cause of a change, in a sentence."""
    if not differences:
        return "No recorded cause differs: it comes from outside of the optimizer's file and the packages' versions."
    first, *others = differences
    rest = f"; {listed(others)} differ{'s' * (len(others) == 1)}, too" if others else ""
    return f"Likeliest cause: {first} changed{rest}."


def cards(before: RunnerCard, after: RunnerCard) -> list[str]:
    """How two experiments differ, their optimizers apart: in rates by stage and update, and in all else."""
    causes, others = [], []
    if changed := _changed(rates(before), rates(after)):
        causes.append(f"learning rates ({changed})")
    for card in (before, after):
        stages = [stage.model_copy(update={"lr": {}}) for stage in card.stages]
        others.append(card.model_copy(update={"stages": stages, "arguments": {}}).fingerprint())
    if others[0] != others[1]:
        causes.append("the card (steps, decay or what it measures)")
    return causes


def rates(card: RunnerCard) -> dict[str, float]:
    """The one rate of every stage and update, of a card whose rates are fixed."""
    return {
        f"{stage.name}/{update}": grid[0]
        for stage in card.stages if isinstance(stage.lr, dict)
        for by_update in stage.lr.values() if isinstance(by_update, dict)
        for update, grid in by_update.items()
    }  # fmt: skip


def _routing(before: OptimizerCard, after: OptimizerCard) -> str | None:
    """How routing differs, with the optimizers' own names taken out: another implementation has another name."""
    was, now = (
        [f"{pattern} to {'itself' if name == spec.name else SAME.get(name, name)}" for pattern, name in spec.routing]
        for spec in (before, after)
    )
    if was == now:
        return None
    moved = [entry for entry in now if entry not in was]
    return f"its routing ({listed(moved) if moved else 'in another order'}; before {listed(was)})"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return listed(f"{key}: {_value(before, key)} before, {_value(after, key)} now" for key in keys) if keys else ""


def _value(values: Mapping[str, Any], key: str) -> str:
    return short(shown(values[key]), 60) if key in values else "not given"
