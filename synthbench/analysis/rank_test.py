"""Rank tests of contrasts whose values may be bounds: Wilcoxon's signed ranks where paired, Mann and Whitney's else.

A bound counts as beyond all others. Over several tasks values are ranked in each, and the ranks of a seed are summed, so
that the test is over seeds; with one task it is scipy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign, nan
from statistics import fmean, median

from synthbench.analysis.contrast import Contrast, Values


def rank_p(contrast: Contrast) -> float:
    """The two-sided p-value that neither row's values are the higher ones."""
    from scipy.stats import mannwhitneyu, wilcoxon

    samples = _summed(contrast)
    if len({value for sample in samples for value in sample} | ({0.0} if contrast.is_paired else set())) <= 1:
        return 1.0
    return float((wilcoxon(*samples) if contrast.is_paired else mannwhitneyu(*samples)).pvalue)


def rank_shift(contrast: Contrast) -> float:
    """Above 0 where the first row's values rank higher: the mean signed rank, or the difference of mean ranks."""
    first, *second = map(fmean, _summed(contrast))
    return first - sum(second)


def median_difference(contrast: Contrast) -> float:
    """The mean over tasks of the median of differences by seed, unpaired of the differences of all pairs of values (Hodges
    and Lehmann's); infinite where it is a bound, NaN without values or where bounds of both signs meet."""
    if not contrast.fewest:
        return nan
    if contrast.others is None:
        return _mean([median(task.values()) for task in contrast.values])
    tasks = zip(contrast.values, contrast.others, strict=True)
    return _mean([median(less(a, b) for a in row.values() for b in other.values()) for row, other in tasks])


def less(value: float, other: float) -> float:
    """value - other; 0 for two equal bounds."""
    return 0.0 if value == other else value - other


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)  # unlike fmean, NaN for bounds of both signs


def _summed(contrast: Contrast) -> list[list[float]]:
    """By sample the sums over tasks of each seed's ranks: signed, or less the middle rank."""
    if contrast.others is None:
        return [_sums([_signed_ranks(task) for task in contrast.values])]
    ranked = [_middled_ranks(a, b) for a, b in zip(contrast.values, contrast.others, strict=True)]
    return [_sums([task[side] for task in ranked]) for side in (0, 1)]


def _sums(tasks: Sequence[Values]) -> list[float]:
    return [sum(task.get(seed, 0.0) for task in tasks) for seed in sorted({seed for task in tasks for seed in task})]


def _signed_ranks(differences: Values) -> Values:
    """The rank of each difference's size, with its sign; 0 for no difference."""
    from scipy.stats import rankdata

    differing = {seed: value for seed, value in differences.items() if value}
    ranks = rankdata([abs(value) for value in differing.values()])
    signed = (copysign(rank, value) for rank, value in zip(ranks, differing.values(), strict=True))
    return dict.fromkeys(differences, 0.0) | dict(zip(differing, signed, strict=True))


def _middled_ranks(first: Values, second: Values) -> tuple[Values, Values]:
    """The ranks of the values of both samples among all of them, less the middle rank."""
    from scipy.stats import rankdata

    ranks = [float(rank) for rank in rankdata([*first.values(), *second.values()]) - (len(first) + len(second) + 1) / 2]
    return dict(zip(first, ranks, strict=False)), dict(zip(second, ranks[len(first) :], strict=True))
