"""An intervention: AdamW's update of each hidden matrix with its spectrum flattened, at the norm that it had.

    u = AdamW's update;  o = NewtonSchulz(u);  w = w (1 - lr wd) - lr |u| / |o| o

What AdamW owes to the size of its updates stays; their singular values are all about the same, as Muon's are. If forgetting
follows the structure of an update, it forgets as Muon does; if it follows the moments, as AdamW does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from synthbench.trainer.optimizers import adamw, muon
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, Optimizer, State, register

if TYPE_CHECKING:
    from torch import Tensor


class AdamWFlat(adamw.AdamW):
    steps: Annotated[int, Field(ge=1, le=20)] = 5
    """Steps of Newton-Schulz."""


def flat(update: Tensor, steps: int) -> Tensor:
    """Matrices (..., rows, columns) with singular values about the same, each with the norm that it had."""
    import torch

    wide = muon.wide(update).contiguous()  # kernels must not depend on K
    orthogonal = muon.newton_schulz(wide.reshape(-1, *wide.shape[-2:]), muon.Muon(steps=steps)).view_as(wide)
    norms = [torch.linalg.vector_norm(of, dim=(-2, -1), keepdim=True) for of in (wide, orthogonal)]
    orthogonal = orthogonal * (norms[0] / norms[1].clamp_min(1e-30))
    flattened: Tensor = orthogonal.mT if update.shape[-2] > update.shape[-1] else orthogonal
    return flattened


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: AdamWFlat) -> None:
    b1, b2 = arguments.betas
    for block, first_Kn, second_Kn in zip(blocks, state["first"], state["second"], strict=True):
        first_Kn.lerp_(block.grad_Kn, 1 - b1)
        second_Kn.mul_(b2).addcmul_(block.grad_Kn, block.grad_Kn, value=1 - b2)
        root = (second_Kn / (1 - b2**hyper.step)).sqrt_().add_(arguments.eps)
        moved = block._replace(grad_Kn=(first_Kn / root).div_(1 - b1**hyper.step))
        for value, update in zip(muon.matrices([block], "value_Kn"), muon.matrices([moved], "grad_Kn"), strict=True):
            lr_K111 = hyper.lr_K.to(value.device)[:, None, None, None]
            decay_K111 = hyper.weight_decay_K.to(value.device)[:, None, None, None]
            value.mul_(1 - lr_K111 * decay_K111)
            value.sub_(flat(update, arguments.steps) * lr_K111)


register(
    Optimizer("adamw-flat", "AdamW, its updates of hidden matrices with a flattened spectrum at equal norm",
              "an intervention on arXiv 2605.06654's mechanism", AdamWFlat,
              (("*norm*", "adamw"), ("layers.*", "adamw-flat"), ("*", "adamw"))),
    Implementation(adamw.start, step),
)  # fmt: skip
