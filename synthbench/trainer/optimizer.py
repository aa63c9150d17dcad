"""An optimizer at work on a fleet: its routing table applied, its optimizers' states kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synthbench.cards import Card
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.layout import Parameter
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, Block, Hyper, route, spans

Routing = Sequence[tuple[str, str]]  # (pattern of parameter names, optimizer), first match wins


class FleetOptimizer:
    """optimizer: a registered name. arguments: what differs from its defaults. routing: in place of its default."""

    def __init__(
        self, optimizer: str, fleet: Fleet, arguments: Mapping[str, Any] | None = None, routing: Routing | None = None
    ) -> None:
        spec = OPTIMIZERS[optimizer]
        self.fleet = fleet
        self.arguments: Card = spec.arguments.model_validate(dict(arguments or {}))
        self.routing = route(routing or spec.routing, fleet.trainable)
        self.main = optimizer
        self._spans = spans(self.routing, fleet.trainable)
        self._states = {
            optimizer: IMPLEMENTATIONS[optimizer].start(
                self._blocks(fleet.flat_KP.detach(), fleet.flat_KP.detach(), parameters), self.arguments
            )
            for optimizer, parameters in self._spans.items()
        }

    @property
    def is_capturable(self) -> bool:
        """Whether a CUDA graph can hold its steps."""
        return self.fleet.flat_KP.is_cuda and all(IMPLEMENTATIONS[name].is_capturable for name in self._states)

    @torch.no_grad()
    def step(self, step: int | Tensor, lr_K: Tensor, weight_decay_K: Tensor) -> None:
        """Moves the fleet by its gradients. step counts from 1; rates and decays are of this step, shape (K,)."""
        ratio = getattr(self.arguments, "aux_lr_ratio", 1.0)
        for optimizer, parameters in self._spans.items():
            blocks = self._blocks(self.fleet.flat_KP.detach(), self.fleet.grad_KP, parameters)
            rate = lr_K if optimizer == self.main else lr_K * ratio
            IMPLEMENTATIONS[optimizer].step(
                blocks, self._states[optimizer], Hyper(step, rate, weight_decay_K), self.arguments
            )

    @torch.no_grad()
    def set_evaluating(self, evaluating: bool) -> None:
        """Puts the weights to be evaluated in place (False: those that are trained), where an optimizer has both."""
        for optimizer, state in self._states.items():
            IMPLEMENTATIONS[optimizer].set_evaluating(state, evaluating)

    @staticmethod
    def _blocks(flat_KP: Tensor, grad_KP: Tensor, spans: list[tuple[Parameter, ...]]) -> list[Block]:
        blocks = []
        for span in spans:
            reach = slice(span[0].offset, span[-1].offset + span[-1].size)
            blocks.append(Block(flat_KP[:, reach], grad_KP[:, reach], span))
        return blocks
