"""What was seen of one run along its path, and the scores of it: from the same observations always the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from synthbench.scores.observations import Point
from synthbench.scores.registry import at_level, at_point

Values = dict[str, float]


class Seen(NamedTuple):
    """start: the first look. path: the looks on the way, by step, on a sample. end: the last look, on all items.

    sample: items a set of a look on the way. steps: of the last look. relearned: the look after relearning, without sets
    where there was none.
    """

    start: Point
    path: Mapping[int, Point]
    end: Point
    sample: int
    steps: int
    relearned: Point = Point({}, {})


def scored(seen: Seen) -> tuple[dict[int, Values], Values]:
    """Scores along the path by step, both ends included and all on the sample; scores at the end on all items."""
    looks = {0: _sampled(seen.start, seen.sample), **seen.path, seen.steps: _sampled(seen.end, seen.sample)}
    path = {step: finite(at_point(seen.start, look)) for step, look in sorted(looks.items())}
    ends = at_point(seen.start, seen.end) | at_level("path", path) | at_level("probe", seen.relearned)
    return path, finite(ends)


def _sampled(point: Point, sample: int) -> Point:
    """What a look on the way would have seen: the first items of every set but validation."""
    sets = {name: one.first(sample) for name, one in point.sets.items() if not name.endswith("/validation")}
    return point._replace(sets=sets)


def finite(values: Values) -> Values:
    """Without infinities: what a diverging run shows is not a number."""
    return {name: value for name, value in values.items() if isfinite(value)}
