"""Muon's update on fixed matrices, against the formulas of its sources; test_optimizers.py compares it with torch.

They agree on Newton-Schulz's quintic and on decoupled decay, w (1 - lr wd), and differ in two things:

    source          buffer                          what is orthogonalized (with nesterov)  scale
    Keller Jordan   b = mu b + (1 - mu) g           (1 - mu) g + mu b                       sqrt(max(1, rows / columns))
    Moonlight       b = mu b + g                    g + mu b                                0.2 sqrt(max(rows, columns))
    torch           as Keller Jordan                as Keller Jordan                        either of the two

Moonlight's buffer is Keller Jordan's divided by 1 - mu, and so is the matrix that is orthogonalized. Newton-Schulz first
divides by the norm, so this factor cancels. Our code has the first form; the tests compare it with both sources.

Sources: https://kellerjordan.github.io/posts/muon/, arXiv 2502.16982 (section 2.2), torch.optim.Muon.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from synthbench.trainer.layout import Parameter
from synthbench.trainer.optimizers import Block, Hyper, muon
from tests.each import each

SHAPES = [(48, 48), (96, 32), (32, 96), (128, 16), (4, 24)]
STEPS, LR, DECAY = 5, 0.02, 0.1
A, B, C = 3.4445, -4.7750, 2.0315

# Tolerance of `difference` after STEPS steps. Measured (x86, torch 2.13): 1e-6 in float32, where only the order of sums
# differs; 3.3 % in bfloat16, which has 8 bits, for the formulas as written here, every term rounded. Other processors sum
# in another order.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.08}

Update = Callable[[Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]


def orthogonalized(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """X = M / |M|, then five times X <- A X + B (X X') X + C (X X')^2 X; transposed if X X' would be the larger product."""
    x = matrix.to(dtype) if matrix.shape[0] <= matrix.shape[1] else matrix.T.to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x if matrix.shape[0] <= matrix.shape[1] else x.T).to(matrix.dtype)


def keller_jordan(grad: Tensor, buffer: Tensor, mu: float, nesterov: bool) -> tuple[Tensor, Tensor]:
    """The buffer and the matrix to orthogonalize, by interpolation."""
    buffer = mu * buffer + (1 - mu) * grad
    return buffer, (1 - mu) * grad + mu * buffer if nesterov else buffer


def moonlight(grad: Tensor, buffer: Tensor, mu: float, nesterov: bool) -> tuple[Tensor, Tensor]:
    """The buffer and the matrix to orthogonalize, by sums."""
    buffer = mu * buffer + grad
    return buffer, grad + mu * buffer if nesterov else buffer


def source_scale(name: str, rows: int, columns: int) -> float:
    return sqrt(max(1, rows / columns)) if name == "original" else 0.2 * sqrt(max(rows, columns))


def weight_and_gradients(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A fixed random weight, and the gradients of all steps."""
    generator = torch.Generator().manual_seed(shape[0] * 1000 + shape[1])
    return 0.1 * torch.randn(shape, generator=generator), torch.randn(STEPS, *shape, generator=generator)


def by_formula(shape: tuple[int, int], update: Update, nesterov: bool, scaled: str, dtype: torch.dtype) -> Tensor:
    """The weight after STEPS steps of a source's formula."""
    weight, grads = weight_and_gradients(shape)
    buffer = torch.zeros(shape)
    for grad in grads:
        buffer, moved = update(grad, buffer, 0.95, nesterov)
        weight = weight * (1 - LR * DECAY) - LR * source_scale(scaled, *shape) * orthogonalized(moved, dtype)
    return weight


def muon_weight(shape: tuple[int, int], nesterov: bool, scaled: str, dtype: torch.dtype, **arguments: Any) -> Tensor:
    """The weight after the same steps of our implementation."""
    weight, grads = weight_and_gradients(shape)
    options = muon.Muon(nesterov=nesterov, scale=scaled, dtype=str(dtype).removeprefix("torch."), **arguments)  # type: ignore[arg-type]
    value_Kn = weight.reshape(1, -1).clone()
    parameter = Parameter("layers.0.up", shape, "hidden", 0)
    state = muon.start([Block(value_Kn, torch.zeros_like(value_Kn), (parameter,))], options)
    for step, grad in enumerate(grads):
        block = Block(value_Kn, grad.reshape(1, -1).clone(), (parameter,))
        muon.step([block], state, Hyper(step + 1, torch.tensor([LR]), torch.tensor([DECAY])), options)
    return value_Kn.view(shape)


def difference(weight: Tensor, reference: Tensor, shape: tuple[int, int]) -> float:
    """The distance of a weight from a reference, relative to the reference's distance from its start."""
    return float((weight - reference).norm() / (reference - weight_and_gradients(shape)[0]).norm())


CASES = list(product(SHAPES, (True, False), ("original", "match_rms_adamw")))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("update", [keller_jordan, moonlight])
@each(("shape", "nesterov", "scaled"), CASES)
def test_muon_s_update_equals_those_of_its_sources(
    shape: tuple[int, int], nesterov: bool, scaled: str, update: Update, dtype: torch.dtype
) -> None:
    """Keller Jordan uses the scale `original`, Moonlight `match_rms_adamw`; each source is tested with both."""
    reference = by_formula(shape, update, nesterov, scaled, dtype)
    assert difference(muon_weight(shape, nesterov, scaled, dtype), reference, shape) < TOLERANCE[dtype]


@each("update", [keller_jordan, moonlight])
def test_wrong_options_are_outside_of_the_tolerance(update: Update) -> None:
    """A wrong scale, nesterov or momentum fails the test above."""
    for shape in SHAPES[:3]:
        reference = by_formula(shape, update, True, "match_rms_adamw", torch.float32)
        wrong_weights = [
            muon_weight(shape, False, "match_rms_adamw", torch.float32),
            muon_weight(shape, True, "original", torch.float32),
            muon_weight(shape, True, "match_rms_adamw", torch.float32, momentum=0.9),
        ]
        assert all(difference(weight, reference, shape) > 0.05 for weight in wrong_weights)
