"""Probes: what is measured of finished models beside the scores of every run. Off unless a card asks for them.

Importing it imports no torch; what is measured is in one file a probe, its formulas with the scores.
"""

from __future__ import annotations

from typing import NamedTuple


class Probe(NamedTuple):
    """cost: on a CPU, as a share of training the stage, in words."""

    name: str
    summary: str
    cost: str


PROBES = {
    probe.name: probe
    for probe in (
        Probe("activations", "size, peak and kurtosis of the residual stream by layer", "below 1 %"),
        Probe(
            "landscape", "rise of the pretraining loss around a base, and along an update", "about as long as 120 steps"
        ),
        Probe("update", "norms, spectrum and place of an update of the hidden matrices", "about as long as 5 steps"),
        Probe("representations", "linear separability, W_Q W_K, attention entropy, train-validation gap", "below 1 %"),
        Probe("automaton", "divergence from the exact distributions of an automaton", "below 1 %"),
    )
}
