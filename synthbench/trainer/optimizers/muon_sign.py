"""An intervention: Muon's update of each hidden matrix replaced by its signs, at the norm that it had.

    o = Muon's update;  s = sign(o);  w = w (1 - lr wd) - lr |o| / |s| s

What Muon owes to its momentum and to the size of its updates stays; their entries are those of a sign step, as AdamW's are
about: all of one size.
"""

from __future__ import annotations

from collections.abc import Sequence

from synthbench.trainer.optimizers import muon
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, Optimizer, State, register


class MuonSign(muon.Muon):
    """As Muon's."""


def start(blocks: Sequence[Block], arguments: MuonSign) -> State:
    return {"momentum": [block.value_Kn.new_zeros(block.value_Kn.shape) for block in blocks]}


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: MuonSign) -> None:
    import torch

    for block, momentum_Kn in zip(blocks, state["momentum"], strict=True):
        momentum_Kn.lerp_(block.grad_Kn, 1 - arguments.momentum)
        blend = block.grad_Kn.lerp(momentum_Kn, arguments.momentum) if arguments.nesterov else momentum_Kn
        moved = block._replace(grad_Kn=blend)
        for value, update in zip(muon.matrices([block], "value_Kn"), muon.matrices([moved], "grad_Kn"), strict=True):
            lr_K111 = hyper.lr_K.to(value.device)[:, None, None, None]
            decay_K111 = hyper.weight_decay_K.to(value.device)[:, None, None, None]
            rows, columns = value.shape[-2:]
            wide = muon.wide(update).contiguous()  # kernels must not depend on K
            step_KMrc = muon.newton_schulz(wide.reshape(-1, *wide.shape[-2:]), arguments).view_as(wide)
            sign = step_KMrc.sign()
            norm, size = (torch.linalg.vector_norm(of, dim=(-2, -1), keepdim=True) for of in (step_KMrc, sign))
            sign = sign * (norm / size.clamp_min(1e-30))
            scale = muon.update_scale(rows, columns, arguments.scale)
            value.mul_(1 - lr_K111 * decay_K111)
            value.sub_((sign.mT if rows > columns else sign) * (lr_K111 * scale))


register(
    Optimizer("muon-sign", "Muon, its updates of hidden matrices replaced by their signs at equal norm",
              "an intervention on arXiv 2605.06654's mechanism", MuonSign,
              (("*norm*", "adamw"), ("layers.*", "muon-sign"), ("*", "adamw"))),
    Implementation(start, step),
)  # fmt: skip
