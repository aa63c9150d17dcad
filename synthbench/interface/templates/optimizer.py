"""An optimizer: its update of one matrix, which is batched over all matrices of all runs.

synthbench run --optimizer my_optimizer.py:my_optimizer
synthbench run --optimizer my_optimizer.py:my_optimizer --set optimizer.beta=0.95
"""

import synthbench


# state: names of tensors that are kept for every matrix, zeros at first. lr: the rate around which rates are tried.
# routing: "all", or "hidden" to move the hidden matrices alone, AdamW the rest. beta: an argument, with its
# default; there may be any number.
@synthbench.matrix_optimizer(state=("momentum",), lr=1e-4, routing="all", beta=0.9)
def my_optimizer(grad, state, param, hyper):
    """The sign of the momentum.

    grad, param: one matrix (or vector) each. state: its tensors. hyper: lr, weight_decay, step (from 1) and the arguments.
    Returns the new param and the new state. It neither branches on values (see torch.where) nor draws random numbers.
    """
    momentum = hyper.beta * state["momentum"] + (1 - hyper.beta) * grad
    moved = param * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * momentum.sign()
    return moved, {"momentum": momentum}
