"""The registry of scores: a named number with a formula, unit, range and direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from synthbench.scores.observed import Point, aligned

Level = Literal["point", "cell"]


class Score(NamedTuple):
    """compute(before, after) of a point: the run at its stage's start and now; NaN where it does not apply.

    Scores of level `cell` are readings of a point score along the paths of a cell's rates (`scores/reading.py`).
    better: `up`, `down` or `-` where neither is better in itself.
    """

    name: str
    formula: str
    unit: str
    range: str
    better: Literal["up", "down", "-"]
    source: str
    level: Level = "point"
    compute: Callable[[Point, Point], float] | None = None


SCORES: dict[str, Score] = {}


def register(score: Score) -> None:
    """Adds a score; raises ValueError if the name is taken."""
    if score.name in SCORES:
        raise ValueError(f"A score named {score.name!r} is registered already.")
    SCORES[score.name] = score


def at_point(before: Point, after: Point) -> dict[str, float]:
    """Every point score that applies, by name. Items that `after` leaves out are left out of `before`."""
    start = aligned(before, after)
    values = {s.name: s.compute(start, after) for s in SCORES.values() if s.compute is not None}
    return {name: value for name, value in values.items() if value == value}
