"""The likeliest cause of a change: what is not the same any more of what a baseline recorded beside numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthbench.cards import RunnerCard
from synthbench.common.wording import listed, short, shown
from synthbench.gate.baseline import Baseline, OptimizerCard


def differences(
    before: Baseline, spec: OptimizerCard, versions: Mapping[str, str], package: str, machine: str
) -> list[str]:
    """What differs, the likeliest cause of another behaviour first. Each a clause: `its routing (...)`."""
    found = []
    if routing := _routing(before, spec):
        found.append(routing)
    was, now = before.spec.arguments, spec.arguments
    if before.spec.name != spec.name:
        found.append(f"the optimizer ({before.spec.name} before, {spec.name} now)")
        shared = [key for key in was if key in now]  # defaults are not known
        was, now = ({key: one[key] for key in shared} for one in (was, now))
    if changed := _changed(was, now):
        found.append(f"its arguments ({changed})")
    if before.spec.name == spec.name and before.spec.source != spec.source:
        found.append("the optimizer's code")
    if changed := _changed(before.versions, versions):
        found.append(f"versions ({changed})")
    if before.package != package:
        found.append("synthbench's own code that trains")
    if before.machine != machine:
        found.append(f"the processor ({before.machine} before, {machine} now)")
    return found


def sentence(differ: list[str]) -> str:
    """The likeliest cause of a change, in a sentence."""
    if not differ:
        return (
            "Nothing else that the baseline recorded differs: what changed is outside of the optimizer's file and the "
            "packages' versions."
        )
    rest = f"; {listed(differ[1:])} differ{'s' * (len(differ) == 2)}, too" if len(differ) > 1 else ""
    return f"The likeliest cause: {differ[0]} changed{rest}."


def cards(before: RunnerCard, after: RunnerCard) -> list[str]:
    """What two cards ask differently: rates by stage and update, and all else."""
    found = []
    if changed := _changed(rates(before), rates(after)):
        found.append(f"learning rates ({changed})")
    was, now = (
        one.model_copy(
            update={"stages": [stage.model_copy(update={"lr": {}}) for stage in one.stages], "arguments": {}}
        )
        for one in (before, after)
    )
    if was.fingerprint() != now.fingerprint():
        found.append("the card (steps, decay or what it measures)")
    return found


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
    was = [(pattern, "itself" if own == before.spec.name else own) for pattern, own in before.spec.routing]
    now = [(pattern, "itself" if own == spec.name else own) for pattern, own in spec.routing]
    was, now = ([(pattern, _plain(own)) for pattern, own in table] for table in (was, now))
    if was == now:
        return None
    moved = [f"{pattern} to {own}" for pattern, own in now if (pattern, own) not in was]
    return f"its routing ({listed(moved) if moved else 'in another order'}; before {listed(f'{p} to {o}' for p, o in was)})"


def _plain(name: str) -> str:
    """The AdamW beside a plug-in is the built-in one."""
    return "adamw" if name == "adamw-beside" else name


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return listed(f"{key}: {_value(before, key)} before, {_value(after, key)} now" for key in keys) if keys else ""


def _value(of: Mapping[str, Any], key: str) -> str:
    return short(shown(of[key]), 60) if key in of else "not given"
