"""Intervals as they are shown: they end where the score's range ends, which Student's t knows nothing of. Verdicts are
decided by the intervals as they are."""

from __future__ import annotations

from synthbench.analysis.statistics import Interval
from synthbench.scores import SCORES


def bounds(name: str, *, of_difference: bool) -> tuple[float, float]:
    """The least and the greatest value of a score, or of a difference between two of its values."""
    least, most = map(float, SCORES[name].range.split(" to "))
    return (least - most, most - least) if of_difference else (least, most)


def within(measured: Interval, name: str, *, of_difference: bool = False) -> Interval:
    """An interval of a score's mean within the score's bounds."""
    least, most = bounds(name, of_difference=of_difference)
    return measured._replace(low=max(measured.low, least), high=min(measured.high, most))  # a NaN in front stays
