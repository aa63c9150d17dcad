"""Scores of the landscape around a model: how the pretraining loss rises where its hidden matrices are perturbed.

Measured by the probe `landscape`. Every matrix is perturbed by the same share of its Frobenius norm, in a direction of
normal numbers, of their signs (the corners of a max-norm ball) or of their orthogonal factor (those of a spectral ball); of
a finetuned model also along its update, from the model that it started from. Losses are nats per answer token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, nan

import numpy as np

from synthbench.scores.observations import Floats
from synthbench.scores.probes import probe_score

KINDS = ("gaussian", "sign", "orthogonal")
SIZES = (0.01, 0.03, 0.1)  # share of a matrix's norm
COMPARED = 0.1  # where kinds are compared: the rises of learned models by less are of the size of their noise


def label(kind: str, size: float) -> str:
    """The name of a score: `rise.sign.3`, by percent."""
    return f"rise.{kind}.{size * 100:g}"


def rise(loss: float, perturbed_D: Floats) -> float:
    """Mean over draws of the loss less that of the model itself."""
    return float(np.mean(perturbed_D) - loss)


def curvature(loss: float, plus: float, minus: float, distance: float) -> float:
    """The second difference of the loss along a direction, per squared unit of distance."""
    return (plus + minus - 2 * loss) / distance**2 if distance else nan


def log_ratio(first: float, second: float) -> float:
    """log(first / second), NaN unless both are positive: a rise may be none."""
    return log(first / second) if first > 0 and second > 0 else nan


def landscape(loss: float, perturbed: dict[tuple[str, float], Floats]) -> dict[str, float]:
    """The scores of a base, from its loss and those of draws by kind and size."""
    rises = {label(kind, size): rise(loss, losses_D) for (kind, size), losses_D in perturbed.items()}
    first, second = (rises.get(label(kind, COMPARED), nan) for kind in ("sign", "orthogonal"))
    return rises | {"sign_over_orthogonal": log_ratio(first, second)}


def along(loss: float, ends: Sequence[Mapping[float, float]], norm: float) -> dict[str, float]:
    """The scores of an update, from the losses at each share of the base's norm along it, forwards and backwards."""
    plus, minus = ends
    rises = {label("update", size): (plus[size] + minus[size]) / 2 - loss for size in SIZES}
    size = SIZES[0]
    return rises | {"update_curvature": curvature(loss, plus[size], minus[size], size * norm)}


for kind in KINDS:
    for size in SIZES:
        formula = (
            f"loss with every hidden matrix moved by {size:g} of its norm, mean over 8 draws of kind {kind}, - without"
        )
        probe_score(label(kind, size), formula, "nats/token", "-inf to inf", "arXiv 2605.06654")
probe_score("sign_over_orthogonal", f"log(rise.sign.{COMPARED * 100:g} / rise.orthogonal.{COMPARED * 100:g})", "log ratio",
            "-inf to inf", "arXiv 2605.06654")  # fmt: skip
for size in SIZES:
    formula = f"the base's loss {size:g} of the hidden matrices' norm along the update, mean of both signs, - without"
    probe_score(label("update", size), formula, "nats/token", "-inf to inf", "arXiv 2605.06654")
probe_score("update_curvature", f"second difference of the base's loss along the update, over the squared distance "
            f"({SIZES[0]:g} of the hidden matrices' norm)", "nats/token a squared unit", "-inf to inf",
            "arXiv 2605.02105, 2605.06654", "down")  # fmt: skip
