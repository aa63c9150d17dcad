"""Scores: pure functions of observations, one file a family, registered with unit, range, direction and source."""

from synthbench.scores import capacity, forgotten, learned, moved, relearned, reading  # isort: skip - reading's need others
from synthbench.scores.observed import Observed, Point
from synthbench.scores.registry import SCORES, Score, at_point, register
from synthbench.scores.seen import Seen, scored

__all__ = [
    "SCORES", "Observed", "Point", "Score", "Seen", "at_point", "capacity", "forgotten", "learned", "moved", "reading",
    "register", "relearned", "scored",
]  # fmt: skip
