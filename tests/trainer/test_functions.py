"""Gradients by hand are autograd's, in double precision, by finite differences too.

Shapes as in `trainer/transformer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from synthbench.trainer import functions, low_rank, transformer
from synthbench.trainer.functions import EPSILON, Merge, Product, RMSNorm, Rotation, SquaredReLU
from tests.each import each

Of = Callable[..., Tensor]


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.double).requires_grad_()


def rms_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt()


def turned(x: Tensor) -> Tensor:
    """RoPE by cosines and sines."""
    length, head_width = x.shape[-4], x.shape[-1]
    angle = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, head_width, 2) / head_width))[:, None, None]
    (even, odd), cosine, sine = x.unflatten(-1, (-1, 2)).unbind(-1), angle.cos(), angle.sin()
    rotated = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)
    return torch.cat([rotated[..., :2, :, :], x[..., 2:, :, :]], dim=-3)


def turns() -> tuple[Tensor, Tensor]:
    return transformer.turns(5, 2, 6, torch.device("cpu"))


CASES: dict[str, tuple[Of, Of, Sequence[tuple[int, ...]]]] = {
    "RMSNorm": (lambda x: RMSNorm.apply(x)[1], rms_norm, [(2, 5, 8)]),
    "RMSNorm, residual": (lambda x: torch.mul(*RMSNorm.apply(x)), lambda x: x * rms_norm(x), [(2, 5, 8)]),
    "SquaredReLU": (SquaredReLU.apply, lambda x: x.relu().square(), [(2, 5, 8)]),
    "Product": (lambda x, w: Product.apply(x, w, None), lambda x, w: x @ w.mT, [(2, 5, 4), (2, 3, 4)]),
    "Product, added": (Product.apply, lambda x, w, onto: onto + x @ w.mT, [(2, 5, 4), (2, 3, 4), (2, 5, 3)]),
    "Rotation": (lambda x: Rotation.apply(x, *turns()), turned, [(4, 5, 3, 2, 6)]),
    "Merge": (lambda b, a: Merge.apply(torch.ones(2, 5, 4).double(), b, a, 2.0), lambda b, a: 1 + 2 * b @ a,
              [(2, 5, 3), (2, 3, 4)]),
    "Merge, stacked": (lambda b, a: Merge.apply(torch.ones(2, 3, 5, 4).double(), b, a, 2.0), lambda b, a: 1 + 2 * b @ a,
                       [(2, 3, 5, 2), (2, 3, 2, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_autograd_s(name: str, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(functions.FUSED, "cpu", fused)
    by_hand, plain, shapes = CASES[name]
    inputs = [random(*shape) for shape in shapes]
    outcomes = []
    for of in (by_hand, plain):
        value = of(*inputs)
        gradients = torch.autograd.grad(value, inputs, torch.linspace(-1, 1, value.numel()).double().view_as(value))
        outcomes.append((value, *gradients))
    tolerance = 1e-6 if name == "Rotation" else 1e-12  # its angles are of single precision
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert torch.autograd.gradcheck(by_hand, inputs, atol=1e-5 if name == "Rotation" else 1e-6)


def test_frozen_weights_and_inputs_have_no_gradient() -> None:
    x, weight = random(2, 5, 4), random(2, 3, 4)
    Product.apply(x.detach(), weight, None).sum().backward()
    Product.apply(x, weight.detach(), None).sum().backward()
    assert torch.equal(weight.grad, torch.ones(2, 3, 5).double() @ x.detach())  # type: ignore[arg-type]
    assert torch.equal(x.grad, weight.detach().sum(1, keepdim=True).expand(2, 5, 4))  # type: ignore[arg-type]


@each("shape", [(64, 64), (256, 64), (64, 256), (3, 64, 64), (3, 32, 32)])
@each("rank", [1, 2, 3, 4, 16])
def test_an_adapter_and_its_gradient_are_bitwise_the_same_in_any_fleet(rank: int, shape: tuple[int, ...]) -> None:
    """The adapter lies within a longer row, as in a fleet's buffer."""
    *stack, rows, columns = shape
    sizes = [torch.Size([*stack, rows, rank]), torch.Size([*stack, rank, columns])]
    row = torch.randn(7, sum(size.numel() for size in sizes) + 16, generator=torch.Generator().manual_seed(0))
    weight, grad = (torch.randn(7, *shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))

    def merged(runs: slice) -> tuple[Tensor, Tensor]:
        flat = row[runs].clone().requires_grad_()
        pieces = flat.split([*[size.numel() for size in sizes], 16], dim=1)
        b, a = (piece.view(-1, *size) for piece, size in zip(pieces, sizes, strict=False))
        value = low_rank.merge(weight[runs].clone(), b, a)
        value.backward(grad[runs].clone())
        assert flat.grad is not None
        return value.detach(), flat.grad

    together = merged(slice(7))
    for k in range(7):
        for of_all, alone in zip(together, merged(slice(k, k + 1)), strict=True):
            assert torch.equal(of_all[k], alone[0])
