"""Small problems that optimizers are checked on: quadratics, and a few batches of random tokens.

An optimizer sees weights and gradients alone, so nearly every property can be checked on a quadratic, whose gradient is
known: loss = sum of h (w - goal)^2 / 2 over a run's parameters, with other goals for every run.

Shapes: K runs, P floats in a run's row, N items, L tokens, T steps, B examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.plugins.registry import routing_of
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize, views
from synthbench.trainer.layout import Parameter
from synthbench.trainer.loop import Data, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule

VOCABULARY, LENGTH, ITEMS, BATCH = 24, 9, 16, 4
UNSEEN = 4  # token ids that no item has: their embeddings have a gradient of exactly zero
STEEPEST = 10.0  # curvatures lie between 1 and this
SIZE = 0.1  # standard deviation of weights, and of the way to their goals


class Run(NamedTuple):
    """seed: decides where it starts and where its goal lies."""

    seed: int
    lr: float
    weight_decay: float = 0.0


def fleet(
    model: ModelCard, update: str, seeds_K: Sequence[int], language: tuple[int, int] = (VOCABULARY, LENGTH)
) -> Fleet:
    """Fresh weights, one seed a run."""
    layout = layouts.transformer(model, language[0], language[1] - 1)
    return Fleet(model, layout, initialize(layout, model, seeds_K, torch.device("cpu")), update, seeds_K)


class Quadratic:
    """A fleet that an optimizer moves down a quadratic. steps: taken so far."""

    def __init__(
        self, optimizer: str, model: ModelCard, update: str, runs: Sequence[Run],
        arguments: Mapping[str, Any] | None = None, language: tuple[int, int] = (VOCABULARY, LENGTH),
    ) -> None:  # fmt: skip
        """optimizer: a registered one. arguments: what differs from its defaults. language: vocabulary and length."""
        self.fleet, self.runs, self.steps = fleet(model, update, [run.seed for run in runs], language), runs, 0
        flat_KP, trainable = self.fleet.flat_KP.detach(), self.fleet.trainable
        self.goal_KP, self.curvature_KP = torch.zeros_like(flat_KP), torch.zeros_like(flat_KP)  # padding feels nothing
        for k, run in enumerate(runs):
            generator = torch.Generator().manual_seed(run.seed)
            for parameter in trainable.parameters.values():
                reach = slice(parameter.offset, parameter.offset + parameter.size)
                start, way = SIZE * torch.randn(2, parameter.size, generator=generator)
                flat_KP[k, reach], self.goal_KP[k, reach] = start, start + way  # away from 0: decay alone fails
                self.curvature_KP[k, reach] = STEEPEST ** torch.rand(parameter.size, generator=generator)
        self.optimizer = FleetOptimizer(optimizer, self.fleet, arguments, routing_of(optimizer, arguments or {}))

    def go(self, steps: int) -> Quadratic:
        """Moves the fleet, and leaves it with the weights to be evaluated."""
        lr_K = torch.tensor([run.lr for run in self.runs])
        weight_decay_K = torch.tensor([run.weight_decay for run in self.runs])
        self.optimizer.set_evaluating(False)
        for _ in range(steps):
            self.steps += 1
            self.fleet.flat_KP.grad = self.curvature_KP * (self.fleet.flat_KP.detach() - self.goal_KP)
            self.optimizer.step(self.steps, lr_K, weight_decay_K)
        self.optimizer.set_evaluating(True)
        return self

    def moved(self) -> list[Parameter]:
        """The parameters that the optimizer itself moves, not one beside it."""
        return [
            p
            for name, p in self.fleet.trainable.parameters.items()
            if self.optimizer.routing[name] == self.optimizer.main
        ]

    @property
    def weights_KP(self) -> Tensor:
        return self.fleet.flat_KP.detach()

    def losses(self) -> dict[str, Tensor]:
        """The loss by parameter, shape (K,)."""
        each_KP = self.curvature_KP * (self.weights_KP - self.goal_KP).square() / 2
        return {name: piece.flatten(1).sum(1) for name, piece in views(self.fleet.trainable, each_KP).items()}


def language(optimizer: str, model: ModelCard, update: str, lr: float, steps: int) -> tuple[Fleet, NDArray[np.float32]]:
    """One model after some steps on random tokens, and its losses, shape (T, 1).

    No item has the last UNSEEN ids; the last three tokens of each are to be learned.
    """
    moved, generator = fleet(model, update, [1]), np.random.default_rng([1, 0])
    tokens_KNL = generator.integers(VOCABULARY - UNSEEN, size=(1, ITEMS, LENGTH), dtype=np.int32)
    order_KTB = generator.integers(ITEMS, size=(1, steps, BATCH), dtype=np.int32)
    answer_KNL = np.broadcast_to(np.arange(LENGTH) >= LENGTH - 3, tokens_KNL.shape).copy()
    curve_TK = train(
        FleetOptimizer(optimizer, moved), Data(tokens_KNL, answer_KNL, order_KTB), Schedule(steps, "constant", 0.0),
        ([lr], [0.1]),
    )  # fmt: skip
    return moved, curve_TK
