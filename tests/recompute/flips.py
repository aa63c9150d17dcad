"""An exact test of a mean over seeds by flipped signs: for coarse values, of which a t test has no valid error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.recompute.readings import Values
from tests.recompute.statistics import LEVEL, Contrast

TINY = 1e-9  # sums that differ by less are equal


class Flipped(Contrast):
    """The mean over tasks of the means over seeds. A seed's values in all tasks have their signs flipped together."""

    def __init__(self, samples: Sequence[Values]) -> None:
        super().__init__([samples], ranked=True)
        self.mean = self._mean() if self.fewest else float("nan")
        seeds = sorted({seed for task in samples for seed in task})
        self._sums, self._shares = np.zeros(len(seeds)), np.zeros(len(seeds))
        for task in samples:
            for seed, value in task.items():
                self._sums[seeds.index(seed)] += value / len(task) / len(samples)
                self._shares[seeds.index(seed)] += 1 / len(task) / len(samples)

    def _subsets(self, of_seed: np.ndarray) -> np.ndarray:
        """The sum over every subset of the seeds, first the empty one."""
        sums = np.zeros(1)
        for value in of_seed:
            sums = np.concatenate([sums, sums + value])
        return sums

    def p(self) -> float:
        """The share of all flips with a mean at least as far from 0."""
        if self.fewest < 2 or self.nothing:
            return 1.0
        total = self._sums.sum()
        flipped = total - 2 * self._subsets(self._sums)
        return float(np.mean(np.abs(flipped) >= abs(total) - TINY))

    def interval(self) -> tuple[float, float]:
        """All means that the test does not reject: they lie between two means over subsets of the seeds."""
        if self.fewest < 2:
            return float("nan"), float("nan")
        means = np.sort(self._subsets(self._sums)[1:] / self._subsets(self._shares)[1:])
        beyond = int(LEVEL / 2 * (len(means) + 1))  # flips that may be as far
        return (float(means[beyond - 1]), float(means[-beyond])) if beyond else (-np.inf, np.inf)

    def is_above(self) -> bool:
        return self.mean > 0
