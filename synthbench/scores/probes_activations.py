"""Scores of activations: how large the residual stream is, and how much of it lies in few places.

Measured by the probe `activations` at the end of a stage, on the pretraining language. Shapes: N tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synthbench.scores.observations import Floats
from synthbench.scores.probes import STAGE, by_layer

NAMES = ("activation_rms", "activation_max", "activation_peak", "activation_kurtosis")


def activations(layers: Sequence[Floats]) -> dict[str, float]:
    """The scores of the states after each layer, each (N, d): by layer, and the mean over layers."""
    of_layers = [dict(zip(NAMES, _of_layer(x_Nd), strict=True)) for x_Nd in layers]
    means = {name: float(np.mean([of_layer[name] for of_layer in of_layers])) for name in NAMES}
    return means | {f"{name}.{layer}": of[name] for layer, of in enumerate(of_layers) for name in NAMES}


def _of_layer(x_Nd: Floats) -> tuple[float, float, float, float]:
    square = float(np.square(x_Nd).mean())
    if not square:
        return 0.0, 0.0, float("nan"), float("nan")
    root, most = square**0.5, float(np.abs(x_Nd).max())
    return root, most, most / root, float((np.square(x_Nd) ** 2).mean()) / square**2


by_layer("activation_rms", "root mean square of the residual stream", "-", "0 to inf", "arXiv 2605.06654")
by_layer("activation_max", "greatest absolute value of the residual stream", "-", "0 to inf", "arXiv 2605.06654")
by_layer("activation_peak", "activation_max / activation_rms", "ratio", "0 to inf", "arXiv 2605.06654")
by_layer("activation_kurtosis", "mean fourth power of the residual stream / its mean square squared (3 if normal)", "ratio",
         "0 to inf", f"arXiv 2605.06654; {STAGE}")  # fmt: skip
