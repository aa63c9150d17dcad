"""Which measure of a model or an update goes with what comes of finetuning: rank correlations by seed.

Rows are too few for a model of several measures at once: a correlation is taken over the rows of one seed, and its mean
and interval over seeds. What goes together need not be a cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan, sqrt
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import interval
from synthbench.common.wording import code
from synthbench.reporting.table import github

LEAST_CELLS = 4  # of a correlation
NOTHING = 1e-9  # a share of variance that rounding makes


def table(
    heads: Sequence[str], predictors: Sequence[str], sides: Sequence[Callable[[str], Mapping[int, float]]]
) -> str:
    """By predictor the correlations by seed that each side finds, as means with intervals; the strongest of the first side
    first. A predictor that has none there is left out."""
    lines = []
    for name in predictors:
        found = [[*side(name).values()] for side in sides]
        if len(found[0]) > 1:
            lines.append((abs(fmean(found[0])), [code(name), *map(in_words, found)]))
    return github([*heads], [cells for _, cells in sorted(lines, key=lambda line: -line[0])])


def correlations(
    rows: Sequence[Row], outcome: str, predictor: str, given: str | None = None
) -> dict[int, float]:  # fmt: skip
    """Spearman's correlation by seed, over rows; with `given` the partial one, at equal ranks of that score. A seed has
    none where a row lacks a value, or one of the scores does not vary."""
    names = (predictor, outcome, *([given] if given else ()))
    values = {name: [row.exact(name) for row in rows] for name in names}
    seeds = set.intersection(*({*of_row} for of_rows in values.values() for of_row in of_rows)) if rows else set()
    found = {}
    for seed in sorted(seeds):
        ranks = [ranked(np.array([of_row[seed] for of_row in values[name]])) for name in names]
        if len(rows) >= LEAST_CELLS and all(np.ptp(of_name) > 0 for of_name in ranks):
            found[seed] = partial_correlation(np.corrcoef(ranks))
    return {seed: value for seed, value in found.items() if value == value}


def partial_correlation(matrix: NDArray[np.float64]) -> float:
    """Of the first two variables of a correlation matrix at equal values of the third, if there is one; NaN where that
    determines one of them."""
    if len(matrix) == 2:
        return float(matrix[0, 1])
    left = (1 - matrix[0, 2] ** 2) * (1 - matrix[1, 2] ** 2)
    return float((matrix[0, 1] - matrix[0, 2] * matrix[1, 2]) / sqrt(left)) if left > NOTHING else nan


def ranked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties at their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    average: NDArray[np.float64] = (ends - (counts - 1) / 2)[places]
    return average


def in_words(values: Sequence[float]) -> str:
    """`+0.68 [+0.64, +0.72]`, the mean with its interval."""
    if len(values) < 2:
        return "-"
    found = interval(values)
    return f"{found.mean:+.2f} \\[{max(-1.0, found.low):+.2f}, {min(1.0, found.high):+.2f}\\]"
