"""A test of whether values lie around 0 that asks for no more than symmetry: by flipped signs, seed by seed.

Student's t takes values of a few sizes (shares of few pairs) for less noisy than they are where all happen to agree: with
eight seeds and one pair each it finds 8 % false alarms at 5 %. Under the null hypothesis a seed's values may as well have
the other sign. The p-value is the share of all combinations of signs that move the mean at least as far from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from synthbench.analysis.contrast import Contrast, Values

MOST_EXACT = 16  # seeds of which every combination of signs is counted; of more, DRAWN of them
DRAWN = 2**15
TINY = 1e-9  # what sums of rounded numbers may differ in


class Flipped(NamedTuple):
    """low, high: the means that a test at this level does not refute, infinite where too few seeds refute none."""

    p: float
    low: float
    high: float


def flipped(contrast: Contrast, level: float = 0.95) -> Flipped:
    """The two-sided p-value that the mean over strata is 0, and the interval of the same test.

    With T strata, of which stratum t has n_t seeds, seed s adds c_s = sum over its strata of x_ts / (T n_t) to the mean,
    and w_s, the same of 1, to the sum of weights, 1. A mean m is compared with signs f where |sum f (c - m w)| is at least
    |sum (c - m w)|: for m between (C - A) / (1 - B) and (C + A) / (1 + B), with C = sum c, A = sum f c and B = sum f w.
    """
    import numpy as np

    parts, weights = _sums(contrast.values)
    moved, turned, mean = _flipped_sums(parts), _flipped_sums(weights), sum(parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(mean - moved) / (1 - turned), (mean + moved) / (1 + turned)])
    is_same = np.abs(turned) > 1 - TINY  # nothing is flipped: every mean agrees with that
    low, high = np.where(is_same, -np.inf, ends.min(axis=0)), np.where(is_same, np.inf, ends.max(axis=0))
    least = ceil((1 - level) * len(low) - TINY) - 1
    agree = np.count_nonzero(low <= TINY if mean > 0 else high >= -TINY)
    return Flipped(
        float(agree / len(low)), float(np.partition(low, least)[least]), -float(np.partition(-high, least)[least])
    )


def _sums(strata: Sequence[Values]) -> tuple[list[float], list[float]]:
    """By seed what it adds to the mean over strata, and its weight there."""
    parts: dict[int, float] = {}
    weights: dict[int, float] = {}
    for stratum in strata:
        for seed, value in stratum.items():
            share = 1 / (len(strata) * len(stratum))
            parts[seed] = parts.get(seed, 0.0) + value * share
            weights[seed] = weights.get(seed, 0.0) + share
    return list(parts.values()), list(weights.values())


def _flipped_sums(numbers: Sequence[float]) -> Any:
    """The sum of some numbers under combinations of signs. The first one keeps its own: the opposites do the same."""
    import numpy as np

    first, *others = numbers
    if len(others) < MOST_EXACT:
        sums = np.array([first])
        for number in others:
            sums = np.concatenate([sums + number, sums - number])
        return sums
    signs = np.random.default_rng(0).integers(0, 2, (DRAWN, len(others))) * 2.0 - 1
    signs[0] = 1  # as they are, so that no p-value is 0
    return first + signs @ np.array(others)
