"""The pretraining loss around finished models: in random directions around a base, along the update of a finetuned one.

The random directions are the same for all runs, so that models are compared in the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthbench.execution.probes.subject import Subject, hidden_names
from synthbench.generators import Place, stream
from synthbench.scores.probes_landscape import KINDS, SIZES, along, landscape
from synthbench.trainer.fleet import Views

DRAWS = 8


def measure(subject: Subject) -> list[dict[str, float]]:
    return around(subject) if subject.is_base else on_the_way(subject)


def around(subject: Subject) -> list[dict[str, float]]:
    """In random directions, of the models as they are."""
    weights, loss_K = subject.after, subject.loss_K(subject.after)
    losses: dict[tuple[str, float], list[np.ndarray]] = {(kind, size): [] for kind in KINDS for size in SIZES}
    for draw in range(DRAWS):
        for kind, directions in drawn(weights, draw).items():
            for size in SIZES:
                losses[kind, size].append(subject.loss_K(moved(weights, directions, size)))
    stacked = {key: np.stack(values) for key, values in losses.items()}
    of_runs = [{key: values_DK[:, k] for key, values_DK in stacked.items()} for k in range(len(loss_K))]
    return [landscape(float(loss), of_run) for loss, of_run in zip(loss_K, of_runs, strict=True)]


def drawn(weights: Views, draw: int) -> dict[str, Views]:
    """One draw of every kind of direction, by matrix, the same for all runs: (1, *shape)."""
    source = stream(Place(draw, "", "", ""), "", "directions of a landscape")
    normal = {
        name: torch.from_numpy(source.standard_normal(weights[name].shape[1:])).to(weights[name])[None]
        for name in hidden_names(weights)
    }
    return {
        "gaussian": normal,
        "sign": {name: direction.sign() for name, direction in normal.items()},
        "orthogonal": {name: orthogonal(direction) for name, direction in normal.items()},
    }


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal factor of each matrix: its singular values are all one."""
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    product: Tensor = left @ right
    return product


def moved(weights: Views, directions: Views, size: float) -> Views:
    """Weights with every matrix moved by a share of its norm along a direction; where that is zero, not at all."""
    changed = dict(weights)
    for name, direction in directions.items():
        norm, length = (torch.linalg.matrix_norm(of, keepdim=True) for of in (weights[name], direction))
        changed[name] = weights[name] + direction * (size * norm / length.clamp_min(1e-30))
    return changed


def on_the_way(subject: Subject) -> list[dict[str, float]]:
    """Along the update of the hidden matrices, all together, from the models that finetuning started from."""
    base = subject.before
    change = {name: subject.after[name] - base[name] for name in hidden_names(base)}
    norm_K, length_K = (norms([of[name] for name in change]) for of in (base, change))
    loss_K = subject.loss_K(base)
    ends: list[dict[float, np.ndarray]] = []
    for sign in (1, -1):
        steps = {size: sign * size * norm_K / length_K.clamp_min(1e-30) for size in SIZES}
        ends.append({size: subject.loss_K(base | {name: base[name] + _scaled(of, step_K) for name, of in change.items()})
                     for size, step_K in steps.items()})  # fmt: skip
    return [
        along(float(loss_K[k]), [{size: float(of_K[k]) for size, of_K in end.items()} for end in ends], float(norm_K[k]))
        if length_K[k] else {}
        for k in range(len(loss_K))
    ]  # fmt: skip


def norms(parameters: Sequence[Tensor]) -> Tensor:
    """The Frobenius norm of all parameters together, shape (K,)."""
    squares = [parameter.flatten(1).double().square().sum(1) for parameter in parameters]
    return torch.stack(squares).sum(0).sqrt()


def _scaled(value: Tensor, factor_K: Tensor) -> Tensor:
    return value * factor_K.to(value).view(-1, *[1] * (value.dim() - 1))
