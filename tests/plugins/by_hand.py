"""A torch.optim.Optimizer driven by hand down the quadratic that a plug-in is moved down, to be compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from synthbench import plugins
from synthbench.cards import ModelCard
from synthbench.plugins.testbed import Quadratic, Run
from synthbench.trainer.layout import Parameter

MODEL = ModelCard(width=16, layers=1, head_width=8, norm="layernorm")  # with vectors
DECAY = 0.25  # of the card; exact in float32
RATES = [[1e-3] * 5, [4e-3] * 5, [1e-2, 5e-3, 2e-3, 1e-3, 1e-4]]  # by step: two rates, and a schedule
SetRate = Callable[[float], Any]


def parts(parameters: Iterable[Parameter], flat_KP: Tensor) -> list[tuple[str, Tensor]]:
    """Every matrix and vector of the first run, by the name of the layout; stacked ones share theirs."""
    return [
        (p.name, piece)
        for p in parameters
        for piece in flat_KP[0, p.offset : p.offset + p.size].view(-1, *p.shape[-2:]).unbind()
    ]


def moved_by_us(name: str, rates: Sequence[float], update: str = "full", **arguments: Any) -> Tensor:
    """The weights after a step at each of these rates, shape (P,)."""
    quadratic = Quadratic(plugins.name_of(name), MODEL, update, [Run(1, 0.0)], arguments)
    for step, lr in enumerate(rates, 1):
        quadratic.fleet.flat_KP.grad = gradient(quadratic)
        quadratic.optimizer.step(step, torch.tensor([lr]), torch.tensor([DECAY]))
    return quadratic.weights_KP[0]


def moved_by_hand(
    make: Callable[[dict[str, list[torch.nn.Parameter]]], tuple[Sequence[torch.optim.Optimizer], SetRate]],
    rates: Sequence[float], update: str = "full",
) -> Tensor:  # fmt: skip
    """The same. make: optimizers of the parameters by group of the layout, and what sets their rates."""
    quadratic = Quadratic("adamw", MODEL, update, [Run(1, 0.0)])
    layout = quadratic.fleet.trainable.parameters
    pairs = [
        (layout[name].group, torch.nn.Parameter(part)) for name, part in parts(layout.values(), quadratic.weights_KP)
    ]
    by_group = {group: [p for other, p in pairs if other == group] for group in ("hidden", "embedding", "vector")}
    optimizers, set_rate = make(by_group)
    for lr in rates:
        for (_, p), (_, grad) in zip(pairs, parts(layout.values(), gradient(quadratic)), strict=True):
            p.grad = grad
        set_rate(float(torch.tensor(lr)))
        for optimizer in optimizers:
            optimizer.step()
    return quadratic.weights_KP[0]


def gradient(quadratic: Quadratic) -> Tensor:
    return quadratic.curvature_KP * (quadratic.weights_KP - quadratic.goal_KP)
