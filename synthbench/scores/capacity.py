"""Scores of how much is stored: bits of random facts, over the parameters that store them."""

from __future__ import annotations

from math import log, nan

import numpy as np

from synthbench.scores.observations import Floats, Point
from synthbench.scores.registry import Score, register

HALVINGS = 50  # of the interval in which the best e lies


def bits(nll_N: Floats, entropy_N: Floats) -> float:
    """Bits that a model saves of coding these facts: a code that gives up a share e of its belief to be ready for facts
    it does not know, max over e in [0, 1] of sum log2(e + (1 - e) 2^(H - NLL)). nll_N, entropy_N: nats.

    The sum is concave in e, so its slope is followed to where it changes sign.
    """
    gain_N = np.exp(np.minimum(entropy_N - nll_N, 500))
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rises = ((1 - gain_N) / (middle + (1 - middle) * gain_N)).sum() > 0
        low, high = (middle, high) if rises else (low, middle)
    return float(np.log2(high + (1 - high) * gain_N).sum())


def bits_per_param(before: Point, after: Point) -> float:
    facts = after.sets.get("new/fact/train")
    if facts is None or not after.parameters or not np.isfinite(facts.nll_N).all():
        return nan
    return bits(facts.nll_N, facts.entropy_N) / after.parameters


def dataset_bits_per_param(before: Point, after: Point) -> float:
    facts = after.sets.get("new/fact/train")
    return float(facts.entropy_N.sum() / log(2)) / after.parameters if facts is not None and after.parameters else nan


for score in (
    Score("bits_per_param", "max over e of sum over trained facts of log2(e + (1 - e) 2^(H - NLL)), over the parameters; "
          "compare dataset_bits_per_param", "bits", "0 to inf", "up", "arXiv 2505.24832, 2404.05405", "point",
          bits_per_param, is_along=False),
    Score("dataset_bits_per_param", "entropy of the trained facts over the parameters: what bits_per_param cannot pass",
          "bits", "0 to inf", "-", "arXiv 2505.24832", "point", dataset_bits_per_param, is_along=False),
):  # fmt: skip
    register(score)
