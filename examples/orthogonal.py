"""Momentum with its singular values set to one, for one matrix: what Muon approximates, by an exact SVD.

synthbench run --optimizer examples/orthogonal.py:orthogonal
"""

import torch

import synthbench


@synthbench.matrix_optimizer(state=("momentum",), lr=1e-3, routing="hidden", beta=0.95)
def orthogonal(grad, state, param, hyper):
    """Orthogonalized momentum at Moonlight's scale, decoupled weight decay."""
    momentum = hyper.beta * state["momentum"] + (1 - hyper.beta) * grad
    finite = momentum.nan_to_num(0, 0, 0)  # a diverging run has no SVD, and would fail the fleet
    u, _, v = torch.linalg.svd(finite, full_matrices=False)
    scale = 0.2 * max(param.shape) ** 0.5
    return param * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * scale * (u @ v), {"momentum": momentum}
