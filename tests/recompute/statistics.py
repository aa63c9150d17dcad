"""Student's t, Welch's and rank tests of a difference over tasks and seeds, by numpy and scipy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from tests.recompute.readings import Values

LEVEL, LEAST_SEEDS, RESOLUTION = 0.05, 3, 1 / 1024
SEEDS = np.arange(2, 1001)  # as many as are asked for


class Contrast:
    """A mean over tasks, or a difference of two. samples: of each the values by task and seed; one where paired."""

    def __init__(self, samples: Sequence[Sequence[Values]], *, ranked: bool = False, resolution: float = 0.0) -> None:
        self.samples, self.ranked, self.resolution = samples, ranked, resolution
        self.sides, self.paired = samples, len(samples) == 1
        self.fewest = min((len(task) for sample in samples for task in sample), default=0)
        self.counts = [len({seed for task in sample for seed in task}) for sample in samples]
        self.n = min(self.counts)
        self.nothing = all(len({*x.values(), *([0.0] if self.paired else y.values())}) < 2
                           for x, y in zip(samples[0], samples[-1], strict=True))  # fmt: skip
        self.mean = self.error = self.freedom = float("nan")
        if self.fewest:
            self.mean = self._median() if ranked else self._mean()
        if self.fewest > 1 and not ranked:
            freedoms = [self._freedom(sample) for sample in samples]
            self.error, self.freedom = map(float, self._spread(self.counts, freedoms))

    def _mean(self) -> float:
        means = [fmean(fmean(task.values()) for task in sample) for sample in self.samples]
        return means[0] - sum(means[1:])

    def _median(self) -> float:
        """The mean over tasks of medians: of differences by seed, or of those of all pairs of values."""
        lists = [[*task.values()] for task in self.samples[0]] if self.paired else [
            [less(x, y) for x in a.values() for y in b.values()] for a, b in zip(*self.samples, strict=True)]  # fmt: skip
        return sum(map(median, lists)) / len(lists)  # unlike fmean, NaN for bounds of both signs

    def _spread(self, counts: Sequence[Any], freedoms: Sequence[Any]) -> tuple[Any, Any]:
        """Standard error, at least that of one item, and degrees of freedom (Welch). Seeds are clusters over tasks. counts,
        freedoms: of seeds that are asked for, or those of the samples."""
        parts = []
        for sample, count in zip(self.samples, counts, strict=True):
            shares: dict[int, float] = defaultdict(float)
            for task in sample:
                for seed, value in task.items():
                    m = len(task)
                    shares[seed] += (m / (m - 1)) ** 0.5 * (value - fmean(task.values())) / m / len(sample)
            parts.append(len(shares) * sum(share**2 for share in shares.values()) / count)
        squares = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
        freedom = sum(parts) ** 2 / squares if np.all(squares) else sum(freedoms)
        return np.maximum(np.sqrt(sum(parts)), self.resolution / np.sqrt(np.minimum(counts[0], counts[-1]))), freedom

    def _freedom(self, sample: Sequence[Values]) -> float:
        """Of the deviation between seeds, which count for less where a task lacks them."""
        weights: dict[int, float] = defaultdict(float)
        for task in sample:
            for seed in task:
                weights[seed] += 1 / len(task) / len(sample)
        squares = np.array([*weights.values()]) ** 2
        return float(squares.sum() ** 2 / (squares**2).sum() - 1)

    def tail(self, distance: float) -> float:
        """The chance that a mean strays at least so far to one side."""
        return float(stats.t.sf(distance / self.error, self.freedom)) if self.error else float(distance < 0)

    def interval(self) -> tuple[float, float]:
        half = float(stats.t.ppf(0.975, self.freedom)) * self.error
        return self.mean - half, self.mean + half

    def _ranks(self) -> list[list[float]]:
        """Sums over tasks of each seed's ranks: signed, or less the middle rank."""
        sums: list[Values] = [defaultdict(float) for _ in self.samples]
        for task in zip(*self.samples, strict=True):
            moved = [value for side in task for value in side.values() if value or not self.paired]
            middle = 0.0 if self.paired else (len(moved) + 1) / 2
            order = iter(stats.rankdata(np.abs(moved) if self.paired else moved) - middle)
            for side, total in zip(task, sums, strict=True):
                for seed, value in side.items():
                    sign = np.sign(value) if self.paired else 1.0
                    total[seed] += sign * next(order) if sign else 0.0
        return [[total[seed] for seed in sorted(total)] for total in sums]

    def p(self) -> float:
        if self.fewest < 2 or self.nothing:
            return 1.0
        if not self.ranked:
            return 2 * self.tail(abs(self.mean))
        ranks = self._ranks()
        if len({x for side in ranks for x in side} | ({0.0} if self.paired else set())) < 2:
            return 1.0
        return float((stats.wilcoxon(*ranks) if self.paired else stats.mannwhitneyu(*ranks)).pvalue)

    def is_above(self) -> bool:
        means = [fmean(side) for side in self._ranks()] if self.ranked else [self.mean]
        return means[0] > sum(means[1:])

    def equivalence(self, margin: float) -> float:
        """The p-value of two one-sided tests that the difference lies within the margin."""
        return self.tail(margin - abs(self.mean))

    def detectable(self) -> float:
        """The difference that a t test at 5 % finds with 80 % power."""
        least = stats.t.ppf(0.975, self.freedom)
        shift = optimize.brentq(
            lambda shift: special.nctdtr(self.freedom, shift, least) - 0.2, 0, 2 * least + 2, xtol=1e-12
        )
        return float(self.error * shift)

    def seeds(self, distances: Sequence[float], level: float) -> float:
        """Seeds of each row with which one-sided t tests over all distances pass with 80 % power."""
        error, freedom = self._spread([SEEDS] * len(self.samples), [SEEDS - 1] * len(self.samples))
        if min(distances) <= 0 or not np.all(error):
            return float("inf") if min(distances) <= 0 else 2
        missed = sum(special.nctdtr(freedom, d / error, stats.t.ppf(level, freedom)) for d in distances)
        return float(next((n for n, share in zip(SEEDS, missed, strict=True) if 1 - share >= 0.8), float("inf")))


def holm(p_values: Sequence[float]) -> list[float]:
    adjusted, least = list(p_values), 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted[index] = least = max(least, min(1.0, (len(p_values) - done) * p_values[index]))
    return adjusted


def less(value: float, other: float) -> float:
    return 0.0 if value == other else value - other  # two equal bounds do not differ
