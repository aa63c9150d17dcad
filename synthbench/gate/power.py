"""Power: the smallest change that so many seeds find, and the seeds that a time budget allows."""

from __future__ import annotations

from math import nan
from statistics import stdev

from synthbench.analysis.change_test import FEWEST, bound, detectable
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.behaviour import unit

# Seeds that two idle CPU cores, of the kind that reports/gate.md names, check in about that time on the runner `gate`.
BUDGETS = {"20s": FEWEST, "60s": 16, "5m": 80}


def seeds(budget: str | None) -> int | None:
    """How many seeds a budget allows, None without one; raises BadInput for another budget."""
    if budget is None:
        return None
    if budget not in BUDGETS:
        raise BadInput(f"--budget {shown(budget)} is not allowed{did_you_mean(budget, BUDGETS)}.")
    return BUDGETS[budget]


def findable(behaviour: BehaviourCard, n: int) -> dict[str, dict[str, float]]:
    """The smallest change of a mean that so many seeds find with 80 % power, by cell and score. Both sides count as
    independent; where they share their seeds' noise, smaller changes are found, too."""
    return {
        where: {
            name: detectable(stdev(values.values()), n, allowed(behaviour, where, name, n)) if len(values) > 1 else nan
            for name, values in scores.items()
        }
        for where, scores in behaviour.values.items()
    }


def allowed(behaviour: BehaviourCard, where: str, name: str, n: int) -> float:
    """How far the mean over n seeds may move."""
    return bound([*behaviour.values[where][name].values()], behaviour.noise[where][name], unit(name), n)
