"""What was observed of one run along its path, and its scores: from the same observations always the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from synthbench.scores.observations import Point
from synthbench.scores.registry import at_level, at_point

Values = dict[str, float]


class RunObservations(NamedTuple):
    """start: the first evaluation. path: the evaluations on the way, by step, on samples. end: the last, on all items.

    sample: at most so many items a set stand for start and end in the path: as many as an evaluation on the way has around
    a crossing. steps: at the last evaluation. relearned: the evaluation after relearning, without sets where there was
    none.
    """

    start: Point
    path: Mapping[int, Point]
    end: Point
    sample: int
    steps: int
    relearned: Point = Point({}, {})


def run_scores(run: RunObservations) -> tuple[dict[int, Values], Values]:
    """Scores along the path by step, both ends included and each point on its sample; scores at the end on all items."""
    points = {0: _sampled(run.start, run.sample), **run.path, run.steps: _sampled(run.end, run.sample)}
    path = {step: finite(at_point(run.start, point)) for step, point in sorted(points.items())}
    ends = at_point(run.start, run.end) | at_level("path", path) | at_level("probe", run.relearned)
    return path, finite(ends)


def _sampled(point: Point, sample: int) -> Point:
    """What an evaluation on the way would have observed: the first items of every set but validation."""
    sets = {name: items.first(sample) for name, items in point.sets.items() if not name.endswith("/validation")}
    return point._replace(sets=sets)


def finite(values: Values) -> Values:
    """The values without infinities and NaN, which a diverging run may have."""
    return {name: value for name, value in values.items() if isfinite(value)}
