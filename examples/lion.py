"""Lion (arXiv 2302.06675) on the flat buffers of a fleet: all parameters of all runs at once.

synthbench run --optimizer examples/lion.py:lion
"""

import torch

import synthbench


def start(blocks, arguments):
    return {"momentum": [torch.zeros_like(block.value_Kn) for block in blocks]}


def step(blocks, state, hyper, arguments):
    """Sign of an interpolated momentum, decoupled weight decay."""
    lr_K1, decay_K1 = hyper.lr_K[:, None], hyper.weight_decay_K[:, None]
    for block, momentum in zip(blocks, state["momentum"], strict=True):
        moved = (arguments.beta1 * momentum + (1 - arguments.beta1) * block.grad_Kn).sign()
        block.value_Kn.mul_(1 - lr_K1 * decay_K1).sub_(lr_K1 * moved)
        momentum.lerp_(block.grad_Kn, 1 - arguments.beta2)


lion = synthbench.fleet_optimizer(step, start=start, lr=1e-4, beta1=0.9, beta2=0.99)
