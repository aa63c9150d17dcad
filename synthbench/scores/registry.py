"""The registry of scores: a named number with a formula, unit, range and direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from synthbench.scores.observations import Point, aligned

Level = Literal["point", "path", "probe", "cell"]


class Score(NamedTuple):
    """compute gives NaN where the score does not apply. Of level `point`: compute(before, after), the run at its
    stage's start and now; `path`: compute(scores by step); `probe`: compute(the evaluation after relearning). Scores of
    level `cell` are readings along the paths of a cell's rates (`scores/reading.py`) and have none.

    better: `up`, `down` or `-` where neither is better in itself. is_along: whether a score of level `point` has a meaning
    along the path, which is evaluated on samples and never on validation items.
    """

    name: str
    formula: str
    unit: str
    range: str
    better: Literal["up", "down", "-"]
    source: str
    level: Level = "point"
    compute: Callable[..., float] | None = None
    is_along: bool = True


SCORES: dict[str, Score] = {}


def register(score: Score) -> None:
    """Adds a score; raises ValueError if the name is taken."""
    if score.name in SCORES:
        raise ValueError(f"A score named {score.name!r} is registered already.")
    SCORES[score.name] = score


def at_level(level: Level, *observed: Any) -> dict[str, float]:
    """Every score of a level that applies to what was observed, by name."""
    values = {s.name: s.compute(*observed) for s in SCORES.values() if s.level == level and s.compute is not None}
    return {name: value for name, value in values.items() if value == value}


def at_point(before: Point, after: Point) -> dict[str, float]:
    """Every point score that applies, by name. Items that `after` leaves out are left out of `before`."""
    return at_level("point", aligned(before, after), after)
