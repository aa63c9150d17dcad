"""A step that is clipped by a lagging estimate of curvature, for one matrix: Sophia-G (arXiv 2305.14342), with squared
gradients of the labels in the data where the paper draws labels from the model.

synthbench run --optimizer examples/sophia.py:sophia
"""

import torch

import synthbench


@synthbench.matrix_optimizer(
    state=("momentum", "curvature"), lr=3e-4, betas=(0.965, 0.99), clip=0.04, batch=64, every=10
)
def sophia(grad, state, param, hyper):
    """Momentum over curvature, entry by entry at most 1; decoupled weight decay."""
    momentum_decay, curvature_decay = hyper.betas
    momentum = momentum_decay * state["momentum"] + (1 - momentum_decay) * grad
    curvature = state["curvature"]
    if hyper.step % hyper.every == 1:
        curvature = curvature_decay * curvature + (1 - curvature_decay) * hyper.batch * grad.square()
    ratio = (momentum.abs() / (hyper.clip * curvature + 1e-15)).clamp(max=1.0)
    moved = param * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * torch.sign(momentum) * ratio
    return moved, {"momentum": momentum, "curvature": curvature}
