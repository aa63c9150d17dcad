"""Observations made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthbench.scores import Observed, Point

Sets = Mapping[str, Observed]


def seen(
    correct: str,
    nll: Sequence[float] | float = 1.0,
    entropy: Sequence[float] | float = 100.0,
    tokens: int = 2,
    floor: float = 0.0,
    kl: Sequence[float] = (),
) -> Observed:
    """correct: a letter an item, `+` where the whole answer is right."""
    count = len(correct)
    return Observed(
        correct_N=np.array([letter == "+" for letter in correct], dtype=bool),
        by_rule_N=np.zeros(count, dtype=bool),
        nll_N=np.broadcast_to(np.asarray(nll, dtype=np.float64), count),
        kl_N=np.asarray(kl, dtype=np.float64),
        entropy_N=np.broadcast_to(np.asarray(entropy, dtype=np.float64), count),
        tokens=tokens,
        floor=floor,
    )


def point(sets: Sets, moved: Mapping[str, float] | None = None) -> Point:
    return Point(sets, moved or {})
