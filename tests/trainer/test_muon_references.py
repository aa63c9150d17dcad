"""Muon's update on fixed matrices against the formulas of its sources; test_rules.py has torch's own beside it.

They agree on Newton-Schulz's quintic and on decoupled decay, w (1 - lr wd), and differ in two things:

    source          buffer                          what is orthogonalized (with nesterov)  scale
    Keller Jordan   b = mu b + (1 - mu) g           (1 - mu) g + mu b                       sqrt(max(1, rows / columns))
    Moonlight       b = mu b + g                    g + mu b                                0.2 sqrt(max(rows, columns))
    torch           as Keller Jordan                as Keller Jordan                        either of the two

Moonlight's buffer is Keller Jordan's over 1 - mu, and so is what is orthogonalized. Newton-Schulz begins by dividing by the
norm, so the factor is gone before it matters: ours is the first form, and both sources' updates are tested to be its.

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

# How far weights may be from a source's after STEPS steps, over how far these have moved. Measured (x86, torch 2.13): 1e-6
# in float32, where only the order of sums differs; 3.3 % in bfloat16, which keeps 8 bits, for formulas written as here,
# every term rounded. Other processors sum otherwise.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.08}

Update = Callable[[Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]


def orthogonalized(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """X = M / |M|, then five times X <- A X + B (X X') X + C (X X')^2 X, on the side where X X' is smaller."""
    x = matrix.to(dtype) if matrix.shape[0] <= matrix.shape[1] else matrix.T.to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x if matrix.shape[0] <= matrix.shape[1] else x.T).to(matrix.dtype)


def keller_jordan(grad: Tensor, buffer: Tensor, mu: float, nesterov: bool) -> tuple[Tensor, Tensor]:
    """The buffer and what is orthogonalized: two interpolations."""
    buffer = mu * buffer + (1 - mu) * grad
    return buffer, (1 - mu) * grad + mu * buffer if nesterov else buffer


def moonlight(grad: Tensor, buffer: Tensor, mu: float, nesterov: bool) -> tuple[Tensor, Tensor]:
    """The same with sums in place of interpolations."""
    buffer = mu * buffer + grad
    return buffer, grad + mu * buffer if nesterov else buffer


def scale(name: str, rows: int, columns: int) -> float:
    return sqrt(max(1, rows / columns)) if name == "original" else 0.2 * sqrt(max(rows, columns))


def start(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A weight, and the gradients of all steps: normal, fixed."""
    generator = torch.Generator().manual_seed(shape[0] * 1000 + shape[1])
    return 0.1 * torch.randn(shape, generator=generator), torch.randn(STEPS, *shape, generator=generator)


def by_formula(shape: tuple[int, int], update: Update, nesterov: bool, scaled: str, dtype: torch.dtype) -> Tensor:
    """The weight after STEPS steps as a source has it."""
    weight, grads = start(shape)
    buffer = torch.zeros(shape)
    for grad in grads:
        buffer, moved = update(grad, buffer, 0.95, nesterov)
        weight = weight * (1 - LR * DECAY) - LR * scale(scaled, *shape) * orthogonalized(moved, dtype)
    return weight


def ours(shape: tuple[int, int], nesterov: bool, scaled: str, dtype: torch.dtype, **arguments: Any) -> Tensor:
    """The weight after the same steps of the rule that fleets use."""
    weight, grads = start(shape)
    given = muon.Muon(nesterov=nesterov, scale=scaled, dtype=str(dtype).removeprefix("torch."), **arguments)  # type: ignore[arg-type]
    value_Kn = weight.reshape(1, -1).clone()
    parameter = Parameter("layers.0.up", shape, "hidden", 0)
    state = muon.start([Block(value_Kn, torch.zeros_like(value_Kn), (parameter,))], given)
    for step, grad in enumerate(grads):
        block = Block(value_Kn, grad.reshape(1, -1).clone(), (parameter,))
        muon.step([block], state, Hyper(step + 1, torch.tensor([LR]), torch.tensor([DECAY])), given)
    return value_Kn.view(shape)


def difference(one: Tensor, other: Tensor, shape: tuple[int, int]) -> float:
    """How far one weight is from another, over how far that one has moved."""
    return float((one - other).norm() / (other - start(shape)[0]).norm())


CASES = list(product(SHAPES, (True, False), ("original", "match_rms_adamw")))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("update", [keller_jordan, moonlight])
@each(("shape", "nesterov", "scaled"), CASES)
def test_muon_s_update_is_that_of_its_sources(
    shape: tuple[int, int], nesterov: bool, scaled: str, update: Update, dtype: torch.dtype
) -> None:
    """Keller Jordan's own scale is `original`, Moonlight's `match_rms_adamw`; either source is tried under both."""
    theirs = by_formula(shape, update, nesterov, scaled, dtype)
    assert difference(ours(shape, nesterov, scaled, dtype), theirs, shape) < TOLERANCE[dtype]


@each("update", [keller_jordan, moonlight])
def test_the_sources_differ_in_what_is_said_to_differ(update: Update) -> None:
    """What makes the tests above tests: a wrong scale, nesterov or momentum is outside of the tolerance."""
    for shape in SHAPES[:3]:
        right = by_formula(shape, update, True, "match_rms_adamw", torch.float32)
        others = [
            ours(shape, False, "match_rms_adamw", torch.float32),
            ours(shape, True, "original", torch.float32),
            ours(shape, True, "match_rms_adamw", torch.float32, momentum=0.9),
        ]
        assert all(difference(other, right, shape) > 0.05 for other in others)
