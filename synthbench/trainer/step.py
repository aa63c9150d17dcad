"""The training step: losses of every run on a batch, their gradients, and the optimizer's move. A faster step goes here.

Shapes: K runs, B examples, L tokens, S positions that predict answers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from synthbench.trainer.fleet import Fleet
from synthbench.trainer.optimizer import FleetOptimizer


def shares(fleet: Fleet, tokens_KBL: Tensor, answer_KBL: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The cross-entropy of every prediction, in nats, and its share of its run's loss, a mean over answer tokens: each
    (K, B, S). first: the first position that predicts an answer token."""
    logits = fleet.logits(tokens_KBL[..., :-1], first)
    target_KBS, learned_KBS = tokens_KBL[..., first + 1 :], answer_KBL[..., first + 1 :]
    nll = F.cross_entropy(logits.flatten(0, 2), target_KBS.reshape(-1), reduction="none").view_as(target_KBS)
    return nll, learned_KBS / learned_KBS.sum((1, 2), keepdim=True)


def losses(fleet: Fleet, tokens_KBL: Tensor, answer_KBL: Tensor, first: int) -> Tensor:
    """Mean cross-entropy of each run's answer tokens, in nats: shape (K,). first: the first position that predicts one."""
    nll_KBS, share_KBS = shares(fleet, tokens_KBL, answer_KBL, first)
    return (nll_KBS * share_KBS).sum((1, 2))


def training_step(
    optimizer: FleetOptimizer,
    tokens_KBL: Tensor,
    answer_KBL: Tensor,
    first: int,
    step: int | Tensor,
    rates: tuple[Tensor, Tensor],
) -> Tensor:
    """Trains the optimizer's fleet by one step; returns each run's loss before it, shape (K,).

    step: counted from 1; in a CUDA graph a tensor without dimensions. rates: learning rate and weight decay of each run at
    this step, shape (K,). Losses are summed over runs, so that no gradient mixes two.
    """
    fleet = optimizer.fleet
    if fleet.native is not None:
        return fleet.native.training_step(optimizer, tokens_KBL, answer_KBL, first, step, rates)
    nll_KBS, share_KBS = shares(fleet, tokens_KBL, answer_KBL, first)
    fleet.flat_KP.grad = None  # the next one is a new tensor as it is: no kernel fills or adds
    nll_KBS.backward(share_KBS)  # type: ignore[no-untyped-call]
    optimizer.step(step, *rates)
    return (nll_KBS.detach() * share_KBS).sum((1, 2))
