"""The training loop: a fleet, an optimizer, data, a schedule; a callback evaluates the fleet at given steps.

Shapes: K runs, N trained items, L tokens, T steps, B examples a step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from synthbench.trainer.step import training_step


class Data(NamedTuple):
    """Of each run: its trained items, which tokens are learned, and which items each step shows.

    tokens_KNL, answer_KNL: items. order_KTB: indices of items.
    """

    tokens_KNL: NDArray[np.int32]
    answer_KNL: NDArray[np.bool_]
    order_KTB: NDArray[np.int32]


def first_position(answer: NDArray[np.bool_]) -> int:
    """The first position from which some answer token is predicted: nothing before it reaches the loss. (What stands at
    position 0 is never predicted.)"""
    return max(0, int(answer.reshape(-1, answer.shape[-1]).any(0).argmax()) - 1)


def order(
    shares: Mapping[str, tuple[NDArray[np.integer], int]], steps: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Which items each step shows, shape (T, B): fixed shares of every batch, each slice sampled by epochs.

    shares: by slice, in the items' order: how often an epoch shows each of its items, and its examples a batch.
    """
    columns, offset = [], 0
    for repeats_N, count in shares.values():
        epoch = np.repeat(np.arange(len(repeats_N), dtype=np.int32), repeats_N)
        epochs = -(-steps * count // len(epoch))
        shuffled = generator.permuted(np.tile(epoch, (epochs, 1)), axis=1)
        columns.append(shuffled.reshape(-1)[: steps * count].reshape(steps, count) + offset)
        offset += len(repeats_N)
    return np.concatenate(columns, axis=1)


def train(
    optimizer: FleetOptimizer,
    data: Data,
    schedule: Schedule,
    rates: tuple[Sequence[float], Sequence[float]],
    at_steps: Collection[int] = (),
    on_point: Callable[[int], None] = lambda step: None,
    on_step: Callable[[int], None] = lambda step: None,
) -> NDArray[np.float32]:
    """Trains every run of the optimizer's fleet for `schedule.steps` steps; returns the training losses, shape (T, K).

    rates: learning rate and weight decay of each run. on_point(step) is called at each of at_steps, 0 being the start;
    on_step(step) after every step. A run that diverges keeps its NaN to itself and trains on. The fleet is left with the
    weights to be evaluated.
    """
    fleet = optimizer.fleet
    device = fleet.flat_KP.device
    tokens_KNL = torch.from_numpy(data.tokens_KNL).long().to(device)
    answer_KNL = torch.from_numpy(data.answer_KNL).to(device)
    order_TKB = torch.from_numpy(data.order_KTB).long().to(device).transpose(0, 1).contiguous()
    rows_K1 = torch.arange(len(fleet), device=device)[:, None]
    first = first_position(data.answer_KNL)
    lr_K, weight_decay_K = (torch.tensor(values, dtype=torch.float32) for values in rates)
    curve_TK = torch.zeros(schedule.steps, len(fleet), device=device)
    if 0 in at_steps:
        on_point(0)
    optimizer.set_evaluating(False)
    for step, indices_KB in enumerate(order_TKB):
        tokens_KBL, answer_KBL = tokens_KNL[rows_K1, indices_KB], answer_KNL[rows_K1, indices_KB]
        rates_K = lr_K * schedule.factor(step), weight_decay_K
        curve_TK[step] = training_step(optimizer, tokens_KBL, answer_KBL, first, step + 1, rates_K)
        on_step(step + 1)
        if step + 1 in at_steps:
            optimizer.set_evaluating(True)
            on_point(step + 1)
            optimizer.set_evaluating(False)
    optimizer.set_evaluating(True)
    curve: NDArray[np.float32] = curve_TK.cpu().numpy()
    return curve
