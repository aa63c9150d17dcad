"""An interaction at equal values of a second score: analysis of covariance, its error by the jackknife over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from tests.recompute.contrasts import Pair, Pairs, resolution
from tests.recompute.readings import Values, bounded
from tests.recompute.rows import Row
from tests.recompute.statistics import LEAST_SEEDS, Contrast

Points = Mapping[int, tuple[float, float]]  # by seed the score and the second one


def given(pairs: Pairs, name: str, second: str, target: float | None = None) -> Contrast:
    """The mean over tasks (and places) of row - other, less a slope times the same of the second score. A seed's value is
    the jackknife's: n times what all seeds give less n - 1 times what the others do."""
    tasks: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for row, other in pairs:
        tasks[row.task, row.size, *sorted(row.axes.items())].append((row, other))
    values = [
        _pseudo([[_points(row, name, second, target) for row in pair] for pair in task]) for task in tasks.values()
    ]
    return Contrast([values], resolution=resolution(name))


def _points(row: Row, name: str, second: str, target: float | None) -> Points:
    score, other = bounded(row, name, target), bounded(row, second, target)
    return {seed: (score[seed], other[seed]) for seed in sorted(score.keys() & other.keys())}


def _pseudo(pairs: Sequence[Sequence[Points]]) -> Values:
    seeds = sorted({seed for pair in pairs for row in pair for seed in row})
    if len(seeds) < LEAST_SEEDS:
        return {}
    n, whole = len(seeds), _at_equal(pairs, None)
    found = {seed: n * whole - (n - 1) * _at_equal(pairs, seed) for seed in seeds}
    return found if all(value == value for value in found.values()) else {}


def _at_equal(pairs: Sequence[Sequence[Points]], left_out: int | None) -> float:
    """The mean over pairs at equal values of the second score. A row that is in two pairs counts twice in the slope."""
    rows = [[np.array([xy for seed, xy in row.items() if seed != left_out]) for row in pair] for pair in pairs]
    if not all(len(row) for pair in rows for row in pair):
        return float("nan")
    apart = np.concatenate([row - row.mean(axis=0) for pair in rows for row in pair])  # deviations within rows
    squares = float(apart[:, 1] @ apart[:, 1])
    slope = float(apart[:, 0] @ apart[:, 1]) / squares if squares else 0.0
    return fmean(float((a.mean(axis=0) - b.mean(axis=0)) @ (1, -slope)) for a, b in rows)
