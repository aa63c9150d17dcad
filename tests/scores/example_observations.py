"""Observations of items given as text, `+` for a correct answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthbench.scores import Observations, Point

Sets = Mapping[str, Observations]


def booleans(text: str) -> np.ndarray:
    return np.array([letter == "+" for letter in text], dtype=bool)


def observed(
    correct: str,
    nll: Sequence[float] | float = 1.0,
    entropy: Sequence[float] | float = 100.0,
    tokens: int = 2,
    floor: float = 0.0,
    kl: Sequence[float] = (),
    by_rule: str = "",
    bucket: Sequence[int] = (),
) -> Observations:
    """correct: one letter per item, `+` for a correct answer. by_rule: `+` for an answer by the rule; default: none."""
    count = len(correct)
    return Observations(
        correct_N=booleans(correct),
        by_rule_N=booleans(by_rule or "-" * count),
        nll_N=np.broadcast_to(np.asarray(nll, dtype=np.float64), count),
        kl_N=np.asarray(kl, dtype=np.float64),
        entropy_N=np.broadcast_to(np.asarray(entropy, dtype=np.float64), count),
        tokens=tokens,
        floor=floor,
        bucket_N=np.asarray(bucket, dtype=np.int8),
    )


def point(sets: Sets, moved: Mapping[str, float] | None = None, parameters: int = 0) -> Point:
    return Point(sets, moved or {}, parameters)
