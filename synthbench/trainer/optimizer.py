"""An optimizer at work on a fleet: its routing table applied, its rules' states kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synthbench.cards import Card
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.layout import Parameter
from synthbench.trainer.rules import OPTIMIZERS, RULES, Block, Hyper, route, spans

Routing = Sequence[tuple[str, str]]  # (pattern of parameter names, rule), first match wins


class FleetOptimizer:
    """optimizer: a registered name. arguments: what differs from its defaults. routing: in place of its own."""

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
            rule: RULES[rule].start(self._blocks(fleet.flat_KP.detach(), fleet.flat_KP.detach(), found), self.arguments)
            for rule, found in self._spans.items()
        }

    @torch.no_grad()
    def step(self, step: int, lr_K: Tensor, weight_decay_K: Tensor) -> None:
        """Moves the fleet by its gradients. step counts from 1; rates and decays are of this step, shape (K,)."""
        ratio = getattr(self.arguments, "aux_lr_ratio", 1.0)
        for rule, found in self._spans.items():
            blocks = self._blocks(self.fleet.flat_KP.detach(), self.fleet.grad_KP, found)
            rate = lr_K if rule == self.main else lr_K * ratio
            RULES[rule].step(blocks, self._states[rule], Hyper(step, rate, weight_decay_K), self.arguments)

    @torch.no_grad()
    def look(self, looking: bool) -> None:
        """Puts the weights that are to be looked at in place (False: those that are trained), where a rule has both."""
        for rule, state in self._states.items():
            RULES[rule].look(state, looking)

    @staticmethod
    def _blocks(flat_KP: Tensor, grad_KP: Tensor, found: list[tuple[Parameter, ...]]) -> list[Block]:
        blocks = []
        for run in found:
            reach = slice(run[0].offset, run[-1].offset + run[-1].size)
            blocks.append(Block(flat_KP[:, reach], grad_KP[:, reach], run))
        return blocks
