"""A library of optimizers whose behaviour is gated."""

import torch


class Lion(torch.optim.Optimizer):
    """The sign of an interpolated momentum, with decoupled weight decay (arXiv 2302.06675)."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * torch.lerp(p.grad, momentum, b1).sign_())
                momentum.lerp_(p.grad, 1 - b2)
