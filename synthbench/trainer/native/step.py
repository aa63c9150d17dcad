"""The native training step: as `trainer/step.py`, with gradients and moves in C++.

An optimizer without a native move makes its own, from native gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from synthbench.trainer.layout import Parameter
from synthbench.trainer.native.gradients import Gradients
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import adamw, muon, sgd, spans

Span = Sequence[Parameter]  # parameters side by side
Move = Callable[[int, Tensor, Tensor, int, float, float], None]
"""move(k, value, gradient, step, rate, decay): of a span of member k."""


def adamw_move(runs: int, span: Span, size: int, arguments: adamw.AdamW) -> Move:
    first_Kn, second_Kn = torch.zeros(runs, size), torch.zeros(runs, size)

    def move(k: int, value: Tensor, grad: Tensor, step: int, lr: float, decay: float) -> None:
        torch.ops.synthbench.adamw(
            value, grad, first_Kn[k], second_Kn[k], lr, decay, *arguments.betas, arguments.eps, step
        )

    return move


def sgd_move(runs: int, span: Span, size: int, arguments: sgd.SGD) -> Move:
    momentum_Kn = torch.zeros(runs, size)

    def move(k: int, value: Tensor, grad: Tensor, step: int, lr: float, decay: float) -> None:
        torch.ops.synthbench.sgd(value, grad, momentum_Kn[k], lr, decay, arguments.momentum, arguments.nesterov)

    return move


def muon_move(runs: int, span: Span, size: int, arguments: muon.Muon) -> Move:
    momentum_Kn, matrices = torch.zeros(runs, size), list(shapes(span))
    match_rms = arguments.scale == "match_rms_adamw"

    def move(k: int, value: Tensor, grad: Tensor, step: int, lr: float, decay: float) -> None:
        torch.ops.synthbench.muon(
            value, grad, momentum_Kn[k], matrices, lr, decay, arguments.momentum, arguments.nesterov, match_rms,
            arguments.steps, arguments.coefficients,
        )  # fmt: skip

    return move


def shapes(span: Span) -> Iterator[int]:
    """Of every matrix of a span: its offset there, rows and columns."""
    for parameter in span:
        rows, columns = parameter.shape[-2:]
        for start in range(0, parameter.size, rows * columns):
            yield from (parameter.offset - span[0].offset + start, rows, columns)


MOVES: dict[str, Callable[[int, Span, int, Any], Move]] = {
    "adamw": adamw_move, "adamw-split": adamw_move, "sgd": sgd_move, "muon": muon_move,
}  # fmt: skip


def has_move(optimizer: str, arguments: Any) -> bool:
    """Whether an optimizer of a routing table has a native move."""
    return optimizer in MOVES and getattr(arguments, "dtype", "float32") == "float32"


class NativeStep:
    """The steps of one optimizer on its fleet, all of one length. Moments are its own.

    An optimizer whose step is more than its own moves (a penalty's) takes it itself, from native gradients.
    """

    def __init__(self, optimizer: FleetOptimizer, length: int) -> None:
        self.length, fleet = length, optimizer.fleet
        self._gradients = Gradients(fleet, length)
        self._moves: list[tuple[slice, bool, Move]] = []
        of_optimizer = spans(optimizer.routing, fleet.trainable)
        is_plain = type(optimizer).step is FleetOptimizer.step
        self.is_native = is_plain and all(has_move(name, optimizer.arguments) for name in of_optimizer)
        self._grad_P = torch.zeros(fleet.trainable.row)
        for name, of_name in of_optimizer.items() if self.is_native else ():
            for span in of_name:
                reach = slice(span[0].offset, span[-1].offset + span[-1].size)
                move = MOVES[name](len(fleet), span, reach.stop - reach.start, optimizer.arguments)
                self._moves.append((reach, name == optimizer.main, move))
        self._ratio = getattr(optimizer.arguments, "aux_lr_ratio", 1.0)
        self._rows = list(fleet.flat_KP.detach())

    def __call__(
        self,
        optimizer: FleetOptimizer,
        tokens_KBL: Tensor,
        answer_KBL: Tensor,
        first: int,
        step: int,
        rates: tuple[Tensor, Tensor],
    ) -> Tensor:
        if not self.is_native:
            fleet, of = optimizer.fleet, self._gradients.of
            fleet.flat_KP.grad = torch.zeros_like(fleet.flat_KP)  # a new one: an optimizer may keep the last
            loss_K = [of(k, tokens_KBL[k], answer_KBL[k], first, grad) for k, grad in enumerate(fleet.grad_KP)]
            optimizer.step(step, *rates)
            return torch.tensor(loss_K)
        loss_K, grad = [], self._grad_P
        for k, (row, lr, decay) in enumerate(zip(self._rows, rates[0].tolist(), rates[1].tolist(), strict=True)):
            loss_K.append(self._gradients.of(k, tokens_KBL[k], answer_KBL[k], first, grad))
            for reach, is_main, move in self._moves:
                move(k, row[reach], grad[reach], step, lr if is_main else lr * self._ratio, decay)
        return torch.tensor(loss_K)


STEPS: WeakKeyDictionary[FleetOptimizer, NativeStep] = WeakKeyDictionary()  # a step holds its fleet, no optimizer


@torch.no_grad()
def training_step(
    optimizer: FleetOptimizer,
    tokens_KBL: Tensor,
    answer_KBL: Tensor,
    first: int,
    step: int | Tensor,
    rates: tuple[Tensor, Tensor],
) -> Tensor:
    """As `trainer.step.training_step`, on a CPU."""
    assert isinstance(step, int), "a step on a GPU"
    length = tokens_KBL.shape[-1] - 1
    native = STEPS.get(optimizer)
    if native is None:
        STEPS[optimizer] = native = NativeStep(optimizer, length)
    assert native.length == length, "a batch of another length"
    return native(optimizer, tokens_KBL, answer_KBL, first, step, rates)
