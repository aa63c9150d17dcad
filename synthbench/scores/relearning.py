"""Scores of what relearning brings back: facts that only seem to be lost return when some of them are retrained."""

from __future__ import annotations

from math import nan

from synthbench.scores.observations import Point
from synthbench.scores.registry import Score, register

# Sets of the evaluation after relearning, each with that before it: lost facts not retrained, facts never trained.
OTHER, CONTROL = "other", "control"


def relearning_savings(relearned: Point) -> float:
    sets = relearned.sets
    if not all(f"{name}/{when}" in sets for name in (OTHER, CONTROL) for when in ("before", "after")):
        return nan
    other, control = (
        sets[f"{name}/after"].exact_match - sets[f"{name}/before"].exact_match for name in (OTHER, CONTROL)
    )
    return other - control


register(
    Score("relearning_savings", "after relearning half of the lost facts: exact match on the other half after - before, "
          "less the same on facts never trained", "share", "-2 to 2", "up", "arXiv 2501.13453", "probe",
          relearning_savings)
)  # fmt: skip
