"""Steps of the model with gradients by hand: in fewer passes over memory, and fewer kernels, than autograd's.

Shapes as in `trainer/transformer.py`; o and i: rows and columns of a weight, h: pairs of a head's width.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-6  # under the root of the norms
FUSED = {
    "cpu": False,
    "cuda": True,
}  # whether sums are taken in the pass before them: fewer kernels, on a CPU slower ones


@cache  # for good: a CUDA graph reads the tensor that it was captured with
def constant(value: float | tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number, without dimensions, or several, that kernels take as a tensor."""
    return torch.tensor(value, dtype=dtype, device=device)


def is_fused(x: Tensor) -> bool:
    return FUSED.get(x.device.type, False)


class RMSNorm(torch.autograd.Function):
    """x and x / sqrt(mean(x^2) + eps) over the last dimension, without parameters. x again, for the residual connection, so
    that its gradient and that of the norm are added in the last pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        epsilon, share = constant(EPSILON, x.dtype, x.device), 1 / x.shape[-1]
        if is_fused(x):
            scale = torch.addcmul(epsilon, norm, norm, value=share).rsqrt_()
        else:
            scale = torch.add(epsilon, norm.square_(), alpha=share).rsqrt_()
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        ctx.set_materialize_grads(False)
        return x, y

    @staticmethod
    def backward(ctx: Any, of_x: Tensor | None, of_y: Tensor | None) -> Tensor | None:
        if of_y is None:
            return of_x
        y, scale = ctx.saved_tensors
        of_y = torch.addcmul(of_y, y, (of_y * y).mean(-1, keepdim=True), value=-1)
        if of_x is not None and is_fused(of_x):
            return torch.addcmul(of_x, of_y, scale)
        of_y.mul_(scale)
        return of_y if of_x is None else of_y.add_(of_x)


class SquaredReLU(torch.autograd.Function):
    """max(x, 0)^2 (Primer, arXiv 2109.08668)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return torch.addcmul(constant(0.0, grad.dtype, grad.device), grad, positive, value=2)


class Product(torch.autograd.Function):
    """x W^T of every run, added to `onto` if that is not None. Autograd would give the weight's gradient transposed, to be
    copied before it can lie in a row. Both are multiplied in the weight's type; the outcome has that of x."""

    @staticmethod
    def forward(ctx: Any, x_KNi: Tensor, weight_Koi: Tensor, onto_KNo: Tensor | None) -> Tensor:
        typed_KNi = x_KNi.to(weight_Koi.dtype)
        ctx.save_for_backward(typed_KNi, weight_Koi)
        if onto_KNo is None:
            return (typed_KNi @ weight_Koi.mT).to(x_KNi.dtype)
        if onto_KNo.dtype != weight_Koi.dtype:
            return onto_KNo + typed_KNi @ weight_Koi.mT
        return torch.baddbmm(onto_KNo, typed_KNi, weight_Koi.mT)

    @staticmethod
    def backward(ctx: Any, grad_KNo: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_KNi, weight_Koi = ctx.saved_tensors
        of_x, of_weight, of_onto = ctx.needs_input_grad
        typed_KNo = grad_KNo.to(weight_Koi.dtype)
        return (
            (typed_KNo @ weight_Koi).to(grad_KNo.dtype) if of_x else None,
            typed_KNo.mT @ x_KNi if of_weight else None,
            grad_KNo if of_onto else None,
        )


class Merge(torch.autograd.Function):
    """W + s B A of every run: (K, rows, columns), B (K, rows, r) and A (K, r, columns), or all three with a stack of
    matrices second."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, b: Tensor, a: Tensor, scale: float) -> Tensor:
        if weight.dim() == 3:
            merged = torch.baddbmm(weight, b, a, alpha=scale)
        else:  # copied, whatever K: a batch of products has one stride
            b, a = (x.clone(memory_format=torch.contiguous_format).flatten(0, 1) for x in (b, a))
            merged = torch.add(weight, (b @ a).view_as(weight), alpha=scale)
        ctx.save_for_backward(b, a)
        ctx.scale = scale
        return merged

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, None]:
        b, a = ctx.saved_tensors
        grad_Mrc, none = grad.flatten(0, -3), constant(0.0, grad.dtype, grad.device)
        of_b = torch.baddbmm(none, grad_Mrc, a.mT, beta=0, alpha=ctx.scale)
        of_a = torch.baddbmm(none, b.mT, grad_Mrc, beta=0, alpha=ctx.scale)
        stack = grad.shape[:-2]
        return None, of_b.view(*stack, *of_b.shape[1:]), of_a.view(*stack, *of_a.shape[1:]), None


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """RoPE on heads of shape (..., L, heads, head_width): neighbouring pairs are complex numbers."""
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2)


class Rotation(torch.autograd.Function):
    """`rotate` by `rotation`; back by its conjugate, which autograd would write anew in every step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotation: Tensor, conjugate: Tensor) -> Tensor:
        ctx.save_for_backward(conjugate)
        return rotate(x, rotation)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return rotate(grad, ctx.saved_tensors[0]), None, None
