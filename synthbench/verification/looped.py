"""An optimizer for one matrix in a plain loop: matrix by matrix, without `torch.vmap`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch

from synthbench.plugins.decorators import CustomOptimizer


class Looped(torch.optim.Optimizer):
    """The optimizer as an optimizer over parameters. given: its arguments, where they are not its defaults."""

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], optimizer: CustomOptimizer, given: Mapping[str, Any]
    ) -> None:
        super().__init__(parameters, {"lr": 0.0, "weight_decay": 0.0})
        self.optimizer, self.arguments, self.steps = optimizer, dict(optimizer.arguments) | dict(given), 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            rates = {name: torch.tensor(group[name]) for name in ("lr", "weight_decay")}
            for p in group["params"]:
                kept = self.state[p] or {name: torch.zeros_like(p) for name in self.optimizer.kept or ()}
                hyper = SimpleNamespace(step=self.steps, **rates, **self.arguments)
                moved, self.state[p] = self.optimizer.written(p.grad, kept, p.detach().clone(), hyper)
                p.copy_(moved)
