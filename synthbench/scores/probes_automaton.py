"""Scores of a model of strings: how far its distributions are from the exact ones. Measured by the probe `automaton`."""

from __future__ import annotations

import numpy as np

from synthbench.scores.observations import Floats
from synthbench.scores.probes import probe_score


def divergence(exact_NAV: Floats, logp_NAV: Floats) -> float:
    """KL(exact || model) in nats, mean over items and places. logp_NAV: the model's log-probabilities."""
    log_exact = np.log(np.where(exact_NAV > 0, exact_NAV, 1.0))
    return float((exact_NAV * (log_exact - logp_NAV)).sum(axis=-1).mean())


def entropy(exact_NAV: Floats) -> float:
    """Nats of the exact distributions, mean over items and places: what no model can go below."""
    return float(-(exact_NAV * np.log(np.where(exact_NAV > 0, exact_NAV, 1.0))).sum(axis=-1).mean())


probe_score("kl_exact", "KL(exact || model) of the next token, held-out strings, mean over the answer's syllables",
            "nats/token", "0 to inf", "arXiv 2401.12973", "down")  # fmt: skip
probe_score("kl_exact.train", "the same on trained strings", "nats/token", "0 to inf", "arXiv 2401.12973", "down")
probe_score("exact_entropy", "entropy of the exact distributions on held-out strings", "nats/token", "0 to inf",
            "arXiv 2401.12973")  # fmt: skip
