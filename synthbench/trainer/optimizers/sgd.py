"""SGD with momentum as torch.optim.SGD computes it: decay is part of the gradient.

b = momentum b + g + wd w;  w = w - lr b        (nesterov: w = w - lr (g + wd w + momentum b))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from synthbench.cards import Card
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, Optimizer, State, register


class SGD(Card):
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False


def start(blocks: Sequence[Block], arguments: SGD) -> State:
    return {"momentum": [block.value_Kn.new_zeros(block.value_Kn.shape) for block in blocks]}


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: SGD) -> None:
    for (value, grad, _), momentum_Kn in zip(blocks, state["momentum"], strict=True):
        lr_K1, decay_K1 = hyper.lr_K.to(value.device)[:, None], hyper.weight_decay_K.to(value.device)[:, None]
        grad = grad.addcmul(decay_K1, value)
        momentum_Kn.mul_(arguments.momentum).add_(grad)
        moved = grad.add_(momentum_Kn, alpha=arguments.momentum) if arguments.nesterov else momentum_Kn
        value.addcmul_(lr_K1, moved, value=-1)


register(
    Optimizer("sgd", "stochastic gradient descent with momentum", "torch.optim.SGD", SGD, (("*", "sgd"),)),
    Implementation(start, step, is_capturable=True),
)
