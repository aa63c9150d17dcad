"""Muon (https://kellerjordan.github.io/posts/muon/): momentum, its singular values pushed to one.

    b = momentum b + (1 - momentum) g;  u = nesterov(g, b);  w = w (1 - lr wd) - lr scale NewtonSchulz(u)

It moves hidden matrices only; embeddings, head and vectors go to AdamW at lr x aux_lr_ratio. The scale is Moonlight's
0.2 sqrt(max(rows, columns)) (arXiv 2502.16982), which gives updates the size of AdamW's, or Keller Jordan's
sqrt(max(1, rows / columns)). torch.optim.Muon offers the same two.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from synthbench.trainer.optimizers import adamw
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, Optimizer, State, register

if TYPE_CHECKING:
    from torch import Tensor


class Muon(adamw.AdamW):
    """betas and eps are those of the AdamW that moves embeddings, head and vectors."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    nesterov: bool = True
    steps: Annotated[int, Field(ge=1, le=20)] = 5
    """Steps of Newton-Schulz."""
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    """Coefficients of its quintic."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of its products."""
    scale: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    aux_lr_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the auxiliary AdamW, over Muon's."""


def newton_schulz(matrix_Mrc: Tensor, arguments: Muon) -> Tensor:
    """Each matrix with its singular values brought near one: about 0.7 to 1.2 after five steps of the default quintic.

    Any batch of matrices, rows <= columns. A zero matrix stays zero.
    """
    import torch

    a, b, c = arguments.coefficients
    x = matrix_Mrc.to(getattr(torch, arguments.dtype))
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(arguments.steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrix_Mrc.dtype)


def update_scale(rows: int, columns: int, scale: str) -> float:
    """The factor of an update of a (rows, columns) matrix."""
    return 0.2 * sqrt(max(rows, columns)) if scale == "match_rms_adamw" else sqrt(max(1.0, rows / columns))


def matrices(blocks: Sequence[Block], attribute: Literal["value_Kn", "grad_Kn"]) -> list[Tensor]:
    """Every parameter as (K, matrices, rows, columns) views of the buffers."""
    views = []
    for block in blocks:
        flat_Kn, start = getattr(block, attribute), block.parameters[0].offset
        for parameter in block.parameters:
            piece = flat_Kn[:, parameter.offset - start : parameter.offset - start + parameter.size]
            views.append(piece.view(len(flat_Kn), -1, *parameter.shape[-2:]))
    return views


def indices_by_shape(all_KMrc: Sequence[Tensor]) -> dict[tuple[int, int], list[int]]:
    """Indices of the parameters of each shape; tall matrices count as their transposes, so that both share products."""
    indices: dict[tuple[int, int], list[int]] = {}
    for index, matrix in enumerate(all_KMrc):
        short, long = sorted(matrix.shape[-2:])
        indices.setdefault((short, long), []).append(index)
    return indices


def wide(matrix: Tensor) -> Tensor:
    """The matrix, or its transpose where it is tall."""
    return matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix


def start(blocks: Sequence[Block], arguments: Muon) -> State:
    import torch

    values = matrices(blocks, "value_Kn")
    state: State = {"momentum": {}, "scale": {}}
    for shape, indices in indices_by_shape(values).items():
        stack = [values[index] for index in indices]
        counts = [matrix.shape[1] for matrix in stack]
        state["momentum"][shape] = stack[0].new_zeros((len(stack[0]), sum(counts), *shape))
        scales = [update_scale(matrix.shape[-2], matrix.shape[-1], arguments.scale) for matrix in stack]
        scale_M11 = torch.tensor(scales).repeat_interleave(torch.tensor(counts))[:, None, None]
        state["scale"][shape] = scale_M11.to(stack[0])
    return state


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Muon) -> None:
    import torch

    values, grads = matrices(blocks, "value_Kn"), matrices(blocks, "grad_Kn")
    lr_K1 = hyper.lr_K.to(values[0].device)[:, None]
    keep_K1 = 1 - lr_K1 * hyper.weight_decay_K.to(values[0].device)[:, None]
    for block in blocks:
        block.value_Kn.mul_(keep_K1)
    for shape, indices in indices_by_shape(values).items():
        grad_KMrc = torch.cat([wide(grads[index]) for index in indices], dim=1)
        momentum_KMrc = state["momentum"][shape].lerp_(grad_KMrc, 1 - arguments.momentum)
        update = grad_KMrc.lerp_(momentum_KMrc, arguments.momentum) if arguments.nesterov else momentum_KMrc
        update = newton_schulz(update.flatten(0, 1), arguments).view_as(update)
        update = update * (lr_K1[..., None, None] * state["scale"][shape])
        pieces = torch.split(update, [values[index].shape[1] for index in indices], dim=1)
        for index, piece in zip(indices, pieces, strict=True):
            values[index].sub_(piece.mT if values[index].shape[-2] > values[index].shape[-1] else piece)


register(
    Optimizer("muon", "momentum orthogonalized by Newton-Schulz on hidden matrices, AdamW on the rest",
              "https://kellerjordan.github.io/posts/muon/; scale: arXiv 2502.16982", Muon,
              (("*norm*", "adamw"), ("layers.*", "muon"), ("*", "adamw"))),
    Implementation(start, step, is_capturable=True),
)  # fmt: skip
