"""torch.func: gradients of K runs by vmap over the stacked weights of a module, AdamW over lists of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.func import vmap as over_runs

from synthbench.verification import reference
from tests.benchmarks.peers import Way
from tests.benchmarks.peers.plain import BETAS, EPS
from tests.benchmarks.shapes import DECAY, RATES, STEPS, Shape, data, fleet


def vmap(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    assert (optimizer, update) == ("adamw", "full")
    start, shown = fleet(shape, range(runs), update), data(shape, range(runs))
    modules = [reference.load(shape.model, start.member(k), shape.length) for k in range(runs)]
    stacked = [torch.stack(of) for of in zip(*(module.parameters() for module in modules), strict=True)]
    params = {name: value.detach() for (name, _), value in zip(modules[0].named_parameters(), stacked, strict=True)}
    values = [*params.values()]
    first, second = ([torch.zeros_like(value) for value in values] for _ in range(2))
    tokens_KNL, order_KTB = torch.from_numpy(shown.tokens_KNL).long(), torch.from_numpy(shown.order_KTB).long()
    rows_K1, lr, (b1, b2) = torch.arange(runs)[:, None], RATES["adamw"], BETAS

    def loss(params: dict[str, Tensor], tokens_BL: Tensor) -> Tensor:
        logits_BLV = functional_call(modules[0], params, (tokens_BL[:, :-1],))[:, shape.first :]
        return F.cross_entropy(logits_BLV.flatten(0, 1), tokens_BL[:, shape.first + 1 :].flatten())

    of_runs, count = over_runs(grad_and_value(loss)), 0

    def call() -> float:
        nonlocal count
        grads, loss_K = of_runs(params, tokens_KNL[rows_K1, order_KTB[:, count % STEPS]])
        count += 1
        grads = [grads[name] for name in params]
        torch._foreach_lerp_(first, grads, 1 - b1)
        torch._foreach_mul_(second, b2)
        torch._foreach_addcmul_(second, grads, grads, 1 - b2)
        root = torch._foreach_div(second, 1 - b2**count)
        torch._foreach_sqrt_(root)
        torch._foreach_add_(root, EPS)
        torch._foreach_mul_(values, 1 - lr * DECAY)
        torch._foreach_addcdiv_(values, first, root, -lr / (1 - b1**count))
        return float(loss_K[0])

    return Way(call, sum(value[0].numel() for value in values))
