"""A library of regressions: bugs that somebody shipped, each put into the code of this process for a while.

`SOURCES` of tests/gate/page.py says where; what is patched is named by the function that makes the patch. Worker
processes have the bug only where they are forked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from synthbench.trainer import fleet, low_rank
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, muon
from synthbench.trainer.optimizers.registry import Block, Hyper, State
from synthbench.trainer.schedule import Schedule

Patch = Callable[[], Any]  # makes a context in which the bug is there
Step = Callable[[Sequence[Block], State, Hyper, Any], None]


class Regression(NamedTuple):
    """name: in words. optimizer: whose baseline finds it."""

    name: str
    optimizer: str
    patch: Patch


def rule(name: str, step: Step) -> Patch:
    """Another step for a rule that keeps its state."""
    return lambda: patch.dict(IMPLEMENTATIONS, {name: IMPLEMENTATIONS[name]._replace(step=step)})


def function(module: Any, name: str, value: Any) -> Patch:
    return lambda: patch.object(module, name, value)


# --- AdamW, with one thing different at a time


class Faults(NamedTuple):
    """What of AdamW is wrong; as it stands, nothing."""

    b2: float | None = None
    corrected: bool = True
    inside: bool = False  # eps under the root
    decay: float = 1.0  # times what was asked for
    coupled: bool = False
    squared: Callable[[Tensor, Tensor], Tensor] = lambda grad, value: grad * grad  # what the second moment averages


def adam(faults: Faults) -> Step:
    def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        b1, b2 = arguments.betas[0], faults.b2 or arguments.betas[1]
        lr_K1, decay_K1 = hyper.lr_K[:, None], hyper.weight_decay_K[:, None] * faults.decay
        for (value, grad, _), first, second in zip(blocks, state["first"], state["second"], strict=True):
            own = grad + decay_K1 * value if faults.coupled else grad
            first.lerp_(own, 1 - b1)
            second.mul_(b2).add_(faults.squared(own, value), alpha=1 - b2)
            c1, c2 = (1 - b1**hyper.step, 1 - b2**hyper.step) if faults.corrected else (1.0, 1.0)
            root = (second / c2 + arguments.eps).sqrt() if faults.inside else (second / c2).sqrt() + arguments.eps
            if not faults.coupled:
                value.mul_(1 - lr_K1 * decay_K1)
            value.sub_(lr_K1 / c1 * first / root)

    return step


def sgd_step(dampening: float = 0.0, nesterov: bool = False, decay: float = 1.0, decoupled: bool = False) -> Step:
    def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        lr_K1, decay_K1 = hyper.lr_K[:, None], hyper.weight_decay_K[:, None] * decay
        for (value, grad, _), momentum in zip(blocks, state["momentum"], strict=True):
            own = grad if decoupled else grad + decay_K1 * value
            momentum.mul_(arguments.momentum).add_(own, alpha=1 - dampening)
            if decoupled:
                value.mul_(1 - lr_K1 * decay_K1)
            value.sub_(lr_K1 * (own + arguments.momentum * momentum if nesterov else momentum))

    return step


# --- Muon


def not_orthogonal(matrix: Tensor, arguments: Any) -> Tensor:
    """Newton-Schulz skipped: momentum, at the norm that an orthogonal matrix has."""
    return matrix / matrix.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7) * sqrt(min(matrix.shape[-2:]))


def newton_schulz(**changed: Any) -> Callable[[Tensor, Any], Tensor]:
    """The same with other arguments than were asked for."""
    right = muon.newton_schulz
    return lambda matrix, arguments: right(matrix, arguments.model_copy(update=changed))


def muon_step(**changed: Any) -> Step:
    return lambda blocks, state, hyper, arguments: muon.step(blocks, state, hyper, arguments.model_copy(update=changed))


def forgetful(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    """Momentum that starts anew at every step."""
    for buffer in state["momentum"].values():
        buffer.zero_()
    muon.step(blocks, state, hyper, arguments)


def without_decay(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    muon.step(blocks, state, hyper._replace(weight_decay_K=torch.zeros_like(hyper.weight_decay_K)), arguments)


def embeddings_to_muon() -> Any:
    routing = (("*norm*", "adamw"), ("layers.*", "muon"), ("*embedding*", "muon"), ("*", "adamw"))
    return patch.dict(OPTIMIZERS, {"muon": OPTIMIZERS["muon"]._replace(routing=routing)})


# --- around the optimizer


def swapped(layout: Any, seeds_K: Sequence[int], device: torch.device) -> Tensor:
    """A zero and B random: the product is zero as well, and other factors move first."""
    flat_KP = RIGHT_ADAPTERS(layout, seeds_K, device)
    for k in range(len(flat_KP)):
        for name, parameter in layout.parameters.items():
            piece = flat_KP[k, parameter.offset : parameter.offset + parameter.size]
            if name.endswith(".A"):
                piece.zero_()
            else:
                deviation = parameter.shape[-1] ** -0.5
                piece.uniform_(-deviation, deviation, generator=torch.Generator().manual_seed(int(seeds_K[k]) % 2**63))
    return flat_KP


RIGHT_ADAPTERS, RIGHT_FACTOR, RIGHT_STEP = fleet.initialize_adapters, Schedule.factor, FleetOptimizer.step


def without_warmup(schedule: Schedule, step: int) -> float:
    return RIGHT_FACTOR(schedule._replace(warmup=0.0), step)


def one_step_late(schedule: Schedule, step: int) -> float:
    """The scheduler is stepped before the optimizer."""
    return RIGHT_FACTOR(schedule, min(step + 1, schedule.steps - 1))


def clipped(optimizer: FleetOptimizer, step: int, lr_K: Tensor, weight_decay_K: Tensor) -> None:
    """Gradients clipped to a norm of 1, as many trainers do by default."""
    grad_KP = optimizer.fleet.grad_KP
    grad_KP.mul_((1 / grad_KP.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0))
    RIGHT_STEP(optimizer, step, lr_K, weight_decay_K)


def adam_fault(name: str, **faults: Any) -> Regression:
    return Regression(name, "adamw", rule("adamw", adam(Faults(**faults))))


REGRESSIONS = [
    adam_fault("Adam's bias correction missing", corrected=False),
    adam_fault("Adam's epsilon inside the root", inside=True),
    adam_fault("Adam's beta2 .95 in place of .999", b2=0.95),
    adam_fault("Adam's second moment of the weights", squared=lambda grad, value: value * value),
    adam_fault("AdamW's weight decay dropped", decay=0.0),
    adam_fault("AdamW's weight decay doubled", decay=2.0),
    adam_fault("AdamW's weight decay coupled", coupled=True),
    Regression("gradient clipping turned on", "adamw", function(FleetOptimizer, "step", clipped)),
    Regression("the warm-up left out", "adamw", function(Schedule, "factor", without_warmup)),
    Regression("the schedule a step early", "adamw", function(Schedule, "factor", one_step_late)),
    Regression("LoRA's alpha ignored", "adamw", function(low_rank, "ALPHA_OVER_RANK", 1.0)),
    Regression("LoRA's A and B swapped at the start", "adamw", function(fleet, "initialize_adapters", swapped)),
    Regression("Newton-Schulz skipped", "muon", function(muon, "newton_schulz", not_orthogonal)),
    Regression("Newton-Schulz a step less", "muon", function(muon, "newton_schulz", newton_schulz(steps=4))),
    Regression(
        "Newton-Schulz's cubic in place of its quintic",
        "muon",
        function(muon, "newton_schulz", newton_schulz(coefficients=(1.5, -0.5, 0.0))),
    ),
    Regression(
        "Muon's factor 0.2 sqrt(max) missing", "muon", function(muon, "scaling", lambda rows, columns, scale: 1.0)
    ),
    Regression("embeddings and head routed to Muon", "muon", embeddings_to_muon),
    Regression("Muon without nesterov", "muon", rule("muon", muon_step(nesterov=False))),
    Regression("Muon's momentum lost", "muon", rule("muon", forgetful)),
    Regression("weight decay dropped for hidden matrices", "muon", rule("muon", without_decay)),
    Regression("SGD's dampening on", "sgd", rule("sgd", sgd_step(dampening=0.9))),
    Regression("SGD with nesterov", "sgd", rule("sgd", sgd_step(nesterov=True))),
    Regression("SGD's weight decay dropped", "sgd", rule("sgd", sgd_step(decay=0.0))),
    Regression("SGD's weight decay decoupled", "sgd", rule("sgd", sgd_step(decoupled=True))),
]
