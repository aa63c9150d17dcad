"""What changes along an axis: trends, the order of bounds, inversions, and where a trend turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import log
from typing import NamedTuple

import numpy as np

from tests.recompute.contrasts import resolution
from tests.recompute.flips import Flipped
from tests.recompute.readings import Values, bounded, starts
from tests.recompute.rows import Row
from tests.recompute.scores import is_up
from tests.recompute.statistics import Contrast

LEAST_SPAN = 0.5  # of the axis


class Line(NamedTuple):
    """Rows of one task by increasing positions on an axis, logarithms where the scale is one."""

    rows: tuple[tuple[float, Row], ...]

    def by_seed(self, name: str, target: float | None = None) -> dict[int, dict[float, float]]:
        """By seed the score at each position that has it."""
        return _by_seed({x: bounded(row, name, target) for x, row in self.rows})

    @property
    def span(self) -> float:
        return self.rows[-1][0] - self.rows[0][0]


def line(rows: Mapping[float, Row], scale: str) -> Line:
    return Line(tuple((log(x) if scale == "log" else x, rows[x]) for x in sorted(rows)))


def span(lines: Sequence[Line]) -> float:
    """Of all values of a claim."""
    ends = [x for one in lines for x, _ in one.rows]
    return max(ends) - min(ends)


def trend(lines: Sequence[Line], name: str, length: float, target: float | None = None) -> Contrast:
    """By seed the slope of the least-squares line times the span of the axis (length); of bounds Kendall's tau."""
    if name.endswith("@t"):
        return Flipped([
            {seed: tau for seed, points in one.by_seed(name, target).items()
             if (tau := _order([*points], [*points.values()])) is not None} for one in lines
        ])  # fmt: skip
    samples: list[Values] = [
        {seed: float(np.polyfit([*points], [*points.values()], 1)[0]) * length
         for seed, points in one.by_seed(name, target).items()
         if len(points) > 1 and max(points) - min(points) >= LEAST_SPAN * one.span} for one in lines
    ]  # fmt: skip
    return Contrast([samples], resolution=resolution(name))


def inversion(lines: Sequence[Line], name: str, before: str, target: float | None = None) -> Flipped:
    """Of pairs of values that differ in both scores the share with a worse base and a better row, less a half."""
    tasks = []
    for one in lines:
        bases, shares = _by_seed({x: starts(row, before) for x, row in one.rows}), Values()
        for seed, points in one.by_seed(name, target).items():
            common = [x for x in points if x in bases.get(seed, {})]
            good = [is_up(before) * bases[seed][x] for x in common], [is_up(name) * points[x] for x in common]
            if (order := _order(*good)) is not None:
                shares[seed] = (1 - order) / 2 - 0.5
        tasks.append(shares)
    return Flipped(tasks)


def _by_seed(of: Mapping[float, Values]) -> dict[int, dict[float, float]]:
    seeds = sorted({seed for values in of.values() for seed in values})
    return {seed: {x: values[seed] for x, values in of.items() if seed in values} for seed in seeds}


def _order(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau of the pairs that differ in both."""
    signs = [float(np.sign(first[a] - first[b]) * (1 if second[a] > second[b] else -1))
             for a, b in combinations(range(len(first)), 2) if first[a] != first[b] and second[a] != second[b]]  # fmt: skip
    return sum(signs) / len(signs) if signs else None
