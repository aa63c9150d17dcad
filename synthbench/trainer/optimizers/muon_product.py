"""LoRA in Muon's geometry: each factor's step makes a spectral step of the product B A, not of the factor.

    p = (A A' + c I)^-1/2;  o = NewtonSchulz(momentum of B's gradient  p);  B = B (1 - lr wd) - lr scale / 2  o p

With c = 0 the change o p A of the product has singular values of one on A's rows. A moves likewise, with (B' B + c
I)^-1/2. c is the mean squared norm of A's rows there, since B starts at 0; the half is for alpha = 2 r. Muon on the
factors alone orthogonalizes each, which is no spectral step of their product. Matrices that are trained themselves have
Muon's step. (Gradients scaled by the other factor: arXiv 2402.02347.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from synthbench.trainer.optimizers import muon
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, Optimizer, State, register

if TYPE_CHECKING:
    from torch import Tensor

DAMPING = 1e-4  # of the mean eigenvalue


class MuonProduct(muon.Muon):
    """As Muon's."""


def factors(blocks: Sequence[Block]) -> list[Block]:
    """Those of adapters; the others are Muon's."""
    return [block for block in blocks if block.parameters[0].name.endswith((".A", ".B"))]


def others(blocks: Sequence[Block]) -> list[Block]:
    return [block for block in blocks if not block.parameters[0].name.endswith((".A", ".B"))]


def start(blocks: Sequence[Block], arguments: MuonProduct) -> State:
    ours = [block.value_Kn.new_zeros(block.value_Kn.shape) for block in factors(blocks)]
    rest = others(blocks)
    return {"momentum": ours, "muon": muon.start(rest, arguments) if rest else {}}


def times(first: Tensor, second: Tensor) -> Tensor:
    """Products of stacks of matrices, (K, matrices, ...) each: one by one, for kernels must not depend on K."""
    import torch

    stacks = zip(first.flatten(0, 1), second.flatten(0, 1), strict=True)
    products = torch.stack([left.contiguous() @ right.contiguous() for left, right in stacks])
    return products.view(*first.shape[:2], *products.shape[1:])


def inverse_root(gram_rr: Tensor, floor_11: Tensor) -> Tensor:
    """(G + c I)^-1/2 of symmetric matrices; c: at least DAMPING times the mean eigenvalue, and the floor."""
    import torch

    size = gram_rr.shape[-1]
    mean_11 = gram_rr.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    damped = gram_rr + torch.maximum(DAMPING * mean_11, floor_11) * torch.eye(size, device=gram_rr.device)
    values_r, vectors_rr = torch.linalg.eigh(damped.nan_to_num())  # a run that diverged has no decomposition
    return times(vectors_rr * values_r.clamp_min(1e-12).rsqrt()[..., None, :], vectors_rr.mT)


def orthogonal(matrix: Tensor, arguments: MuonProduct) -> Tensor:
    """Singular values near one, whichever side is longer."""
    wide = muon.wide(matrix).contiguous()  # kernels must not depend on K
    found = muon.newton_schulz(wide.reshape(-1, *wide.shape[-2:]), arguments).view_as(wide)
    return found.mT if matrix.shape[-2] > matrix.shape[-1] else found


def pairs(blocks: Sequence[Block], moved: Sequence[Block]) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """A, B and what is to be made their steps, of every adapted matrix; each (K, matrices, rows, columns)."""
    names = [parameter.name for block in blocks for parameter in block.parameters]
    values = dict(zip(names, muon.matrices(blocks, "value_Kn"), strict=True))
    updates = dict(zip(names, muon.matrices(moved, "grad_Kn"), strict=True))
    for name in [name.removesuffix(".A") for name in names if name.endswith(".A")]:
        yield values[f"{name}.A"], values[f"{name}.B"], updates[f"{name}.A"], updates[f"{name}.B"]


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: MuonProduct) -> None:
    if rest := others(blocks):
        muon.step(rest, state["muon"], hyper, arguments)
    moved, blocks = [], factors(blocks)
    for block, momentum_Kn in zip(blocks, state["momentum"], strict=True):
        momentum_Kn.lerp_(block.grad_Kn, 1 - arguments.momentum)
        blend = block.grad_Kn.lerp(momentum_Kn, arguments.momentum) if arguments.nesterov else momentum_Kn
        moved.append(block._replace(grad_Kn=blend))
    for a_KMrc, b_KMrc, of_a, of_b in pairs(blocks, moved):
        lr_K111 = hyper.lr_K.to(a_KMrc.device)[:, None, None, None]
        decay_K111 = hyper.weight_decay_K.to(a_KMrc.device)[:, None, None, None]
        scale = lr_K111 * (muon.update_scale(b_KMrc.shape[-2], a_KMrc.shape[-1], arguments.scale) / 2)
        gram_a, gram_b = times(a_KMrc, a_KMrc.mT), times(b_KMrc.mT, b_KMrc)
        level = gram_a.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        root_a, root_b = inverse_root(gram_a, 0 * level), inverse_root(gram_b, level)
        to_b = times(orthogonal(times(of_b, root_a), arguments), root_a)
        to_a = times(root_b, orthogonal(times(root_b, of_a), arguments))
        for value, update in ((b_KMrc, to_b), (a_KMrc, to_a)):
            value.mul_(1 - lr_K111 * decay_K111)
            value.sub_(update * scale)


register(
    Optimizer("muon-product", "under LoRA spectral steps of the product of the factors, else Muon",
              "after https://kellerjordan.github.io/posts/muon/; arXiv 2402.02347", MuonProduct,
              (("*norm*", "adamw"), ("layers.*", "muon-product"), ("*", "adamw"))),
    Implementation(start, step),
)  # fmt: skip
