"""The training loop: a fleet, an optimizer, data, a schedule; a callback evaluates the fleet at given steps.

Shapes: K runs, N trained items, L tokens, T steps, B examples a step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from synthbench.trainer.step import training_step

EAGER = 2  # steps before a CUDA graph is captured: libraries set themselves up in the first
AHEAD = 32  # steps that may be waiting on the device while others are launched


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


class Steps:
    """The steps of a stage: what each shows to the fleet and at which rates, all of it on the fleet's device."""

    def __init__(
        self, optimizer: FleetOptimizer, data: Data, schedule: Schedule, rates: tuple[Sequence[float], Sequence[float]]
    ) -> None:
        """rates: learning rate and weight decay of each run."""
        runs, device = len(optimizer.fleet), optimizer.fleet.flat_KP.device
        self.optimizer = optimizer
        self._tokens_KNL = torch.from_numpy(data.tokens_KNL).long().to(device)
        self._answer_KNL = torch.from_numpy(data.answer_KNL).to(device)
        self._order_TKB = torch.from_numpy(data.order_KTB).long().to(device).transpose(0, 1).contiguous()
        self._rows_K1 = torch.arange(runs, device=device)[:, None]
        self._first = first_position(data.answer_KNL)
        of_rates = device if optimizer.is_capturable else torch.device("cpu")  # where plug-ins expect them
        lr_K, self._weight_decay_K = (torch.tensor(values, dtype=torch.float32, device=of_rates) for values in rates)
        factors = [schedule.factor(step) for step in range(schedule.steps)]
        self._lr_TK = torch.tensor(factors, dtype=torch.float32, device=of_rates)[:, None] * lr_K
        self._count_T = torch.arange(1, schedule.steps + 1, dtype=torch.double, device=of_rates)
        self.curve_TK = torch.zeros(schedule.steps, runs, device=device)

    def take(self, step: int | Tensor) -> None:
        """Takes a step, counted from 0. As a tensor of shape (1,) on the device, it reads nothing on the host."""
        indices_KB, lr_K = _row(self._order_TKB, step), _row(self._lr_TK, step)
        tokens_KBL, answer_KBL = (of_K[self._rows_K1, indices_KB] for of_K in (self._tokens_KNL, self._answer_KNL))
        count = step + 1 if isinstance(step, int) else _row(self._count_T, step)  # float32 has no room for 1 - 0.999^1
        rates_K = lr_K, self._weight_decay_K
        self.curve_TK[step] = training_step(self.optimizer, tokens_KBL, answer_KBL, self._first, count, rates_K)


def _row(rows: Tensor, index: int | Tensor) -> Tensor:
    return rows[index] if isinstance(index, int) else rows.index_select(0, index)[0]


class CapturedSteps:
    """Steps in order as a CUDA graph: captured after the first few, then replayed. The launches of a step's kernels, one
    by one, take 15 times as long as the kernels of a small fleet do."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._next = torch.zeros(1, dtype=torch.long, device=steps.curve_TK.device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, step: int) -> None:
        """Takes the step after the one before; step: which that is, from 0."""
        if step < EAGER:
            self._advance()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._advance()
        self._graph.replay()
        if step % AHEAD == 0:
            torch.cuda.synchronize()

    def restart(self) -> None:
        """The next step will be the stage's first again, with the weights of now."""
        self._next.zero_()

    def _advance(self) -> None:
        self._steps.take(self._next)
        self._next += 1


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
    steps = Steps(optimizer, data, schedule, rates)
    take = CapturedSteps(steps) if optimizer.is_capturable else steps.take
    if 0 in at_steps:
        on_point(0)
    optimizer.set_evaluating(False)
    for step in range(data.order_KTB.shape[1]):  # which may be fewer than the schedule's
        take(step)
        on_step(step + 1)
        if step + 1 in at_steps:
            optimizer.set_evaluating(True)
            on_point(step + 1)
            optimizer.set_evaluating(False)
    optimizer.set_evaluating(True)
    curve: NDArray[np.float32] = steps.curve_TK.cpu().numpy()
    return curve
