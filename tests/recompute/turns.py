"""Where a trend turns. The resamples are drawn anew, so the ends of the published range are held to their frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf

import numpy as np

from tests.recompute.along import Line
from tests.recompute.readings import bounded
from tests.recompute.runs import Object
from tests.recompute.scores import is_up

DRAWN, SLACK = 20_000, 0.015  # four standard deviations of a share of .025 of 2,000 resamples


class Turn:
    """best: the value with the best mean over tasks, of those that all have. shares: of resamples in which each is best."""

    def __init__(self, lines: Sequence[Line], name: str, scale: str) -> None:
        common = set.intersection(*({x for x, _ in one.rows} for one in lines))
        self.at = sorted(common)
        self.values = [exp(x) if scale == "log" else x for x in self.at]
        read = [[bounded(row, name) for x, row in one.rows if x in common] for one in lines]
        seeds = sorted({seed for task in read for values in task for seed in values})
        counts = np.random.default_rng(1).multinomial(len(seeds), [1 / len(seeds)] * len(seeds), DRAWN)
        means = [self._means(read, np.array(drawn), seeds) for drawn in (np.ones(len(seeds)), counts)]
        best = np.argmax(is_up(name) * means[1], axis=-1)[~np.isnan(means[1]).any(axis=-1)]
        self.best, self.is_flat = int(np.argmax(is_up(name) * means[0])), bool(np.ptp(means[0]) == 0)
        self.shares = np.bincount(best, minlength=len(self.at)) / len(best)

    def _means(
        self, read: Sequence[Sequence[dict[int, float]]], counts: np.ndarray, seeds: Sequence[int]
    ) -> np.ndarray:
        """Over tasks, at each value. counts: how often each seed is drawn."""
        tasks = []
        for task in read:
            known = np.array([[seed in values for values in task] for seed in seeds], float)
            values = np.array([[values.get(seed, 0.0) for values in task] for seed in seeds])
            with np.errstate(invalid="ignore"):
                tasks.append((counts @ values) / (counts @ known))
        return np.asarray(np.mean(tasks, axis=0))

    def agrees(self, shown: Object | None) -> bool:
        """Whether a published turn is this one, its ends up to the error of resampling."""
        if shown is None or len(self.at) < 3 or self.is_flat:
            return shown is None and (len(self.at) < 3 or self.is_flat)
        near = [
            min(range(len(self.at)), key=lambda index: abs(self.values[index] - shown[end])) for end in ("low", "high")
        ]
        below, above = np.cumsum(self.shares), np.cumsum(self.shares[::-1])[::-1]
        return (
            abs(self.values[self.best] - shown["best"]) < 1e-9 and shown["is_inside"] is (0 < self.best < len(self.at) - 1)
            and (below[near[0] - 1] if near[0] else -inf) <= 0.025 + SLACK and below[near[0]] >= 0.025 - SLACK
            and (above[near[1] + 1] if near[1] + 1 < len(above) else -inf) <= 0.025 + SLACK
            and above[near[1]] >= 0.025 - SLACK
        )  # fmt: skip
