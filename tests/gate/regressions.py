"""A library of regressions: bugs that were shipped, each patched into the code of this process.

`SOURCES` in tests/gate/page.py names the reports. Worker processes have the bug only where they are forked.
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

Patch = Callable[[], Any]  # returns a context in which the bug is present
Step = Callable[[Sequence[Block], State, Hyper, Any], None]


class Regression(NamedTuple):
    """name: a description. optimizer: the one whose baseline detects it."""

    name: str
    optimizer: str
    patch: Patch


def with_step(name: str, step: Step) -> Patch:
    """Another step for an optimizer, with the same state."""
    return lambda: patch.dict(IMPLEMENTATIONS, {name: IMPLEMENTATIONS[name]._replace(step=step)})


def with_attribute(module: Any, name: str, value: Any) -> Patch:
    return lambda: patch.object(module, name, value)


# --- AdamW with one fault at a time


class Faults(NamedTuple):
    """What is wrong with AdamW; by default nothing."""

    b2: float | None = None
    corrected: bool = True
    inside: bool = False  # eps under the root
    decay: float = 1.0  # times the weight decay
    coupled: bool = False
    squared: Callable[[Tensor, Tensor], Tensor] = lambda grad, value: grad * grad  # what the second moment averages


def adam(faults: Faults) -> Step:
    def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        b1, b2 = arguments.betas[0], faults.b2 or arguments.betas[1]
        lr_K1, decay_K1 = hyper.lr_K[:, None], hyper.weight_decay_K[:, None] * faults.decay
        for (value, grad, _), first, second in zip(blocks, state["first"], state["second"], strict=True):
            decayed = grad + decay_K1 * value if faults.coupled else grad
            first.lerp_(decayed, 1 - b1)
            second.mul_(b2).add_(faults.squared(decayed, value), alpha=1 - b2)
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
            decayed = grad if decoupled else grad + decay_K1 * value
            momentum.mul_(arguments.momentum).add_(decayed, alpha=1 - dampening)
            if decoupled:
                value.mul_(1 - lr_K1 * decay_K1)
            value.sub_(lr_K1 * (decayed + arguments.momentum * momentum if nesterov else momentum))

    return step


# --- Muon


def not_orthogonal(matrix: Tensor, arguments: Any) -> Tensor:
    """Newton-Schulz skipped: momentum scaled to the norm of an orthogonal matrix."""
    return matrix / matrix.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7) * sqrt(min(matrix.shape[-2:]))


def newton_schulz(**changed: Any) -> Callable[[Tensor, Any], Tensor]:
    """Newton-Schulz with changed arguments."""
    original = muon.newton_schulz
    return lambda matrix, arguments: original(matrix, arguments.model_copy(update=changed))


def muon_step(**changed: Any) -> Step:
    return lambda blocks, state, hyper, arguments: muon.step(blocks, state, hyper, arguments.model_copy(update=changed))


def without_momentum(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    """Momentum is reset at every step."""
    for buffer in state["momentum"].values():
        buffer.zero_()
    muon.step(blocks, state, hyper, arguments)


def without_decay(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    muon.step(blocks, state, hyper._replace(weight_decay_K=torch.zeros_like(hyper.weight_decay_K)), arguments)


def embeddings_to_muon() -> Any:
    routing = (("*norm*", "adamw"), ("layers.*", "muon"), ("*embedding*", "muon"), ("*", "adamw"))
    return patch.dict(OPTIMIZERS, {"muon": OPTIMIZERS["muon"]._replace(routing=routing)})


# --- around the optimizer


def swapped_adapters(layout: Any, seeds_K: Sequence[int], device: torch.device) -> Tensor:
    """A zero and B random: the product is zero, too, but the other factor moves first."""
    flat_KP = ORIGINAL_ADAPTERS(layout, seeds_K, device)
    for k in range(len(flat_KP)):
        for name, parameter in layout.parameters.items():
            factor_P = flat_KP[k, parameter.offset : parameter.offset + parameter.size]
            if name.endswith(".A"):
                factor_P.zero_()
            else:
                deviation = parameter.shape[-1] ** -0.5
                factor_P.uniform_(
                    -deviation, deviation, generator=torch.Generator().manual_seed(int(seeds_K[k]) % 2**63)
                )
    return flat_KP


ORIGINAL_ADAPTERS, ORIGINAL_FACTOR, ORIGINAL_STEP = fleet.initialize_adapters, Schedule.factor, FleetOptimizer.step


def without_warmup(schedule: Schedule, step: int) -> float:
    return ORIGINAL_FACTOR(schedule._replace(warmup=0.0), step)


def one_step_late(schedule: Schedule, step: int) -> float:
    """The scheduler steps before the optimizer."""
    return ORIGINAL_FACTOR(schedule, min(step + 1, schedule.steps - 1))


def clipped(optimizer: FleetOptimizer, step: int, lr_K: Tensor, weight_decay_K: Tensor) -> None:
    """Gradients clipped to a norm of 1, as many trainers do by default."""
    grad_KP = optimizer.fleet.grad_KP
    grad_KP.mul_((1 / grad_KP.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0))
    ORIGINAL_STEP(optimizer, step, lr_K, weight_decay_K)


def adam_fault(name: str, **faults: Any) -> Regression:
    return Regression(name, "adamw", with_step("adamw", adam(Faults(**faults))))


REGRESSIONS = [
    adam_fault("Adam's bias correction missing", corrected=False),
    adam_fault("Adam's epsilon inside the square root", inside=True),
    adam_fault("Adam's beta2 .95 instead of .999", b2=0.95),
    adam_fault("Adam's second moment of weights, not gradients", squared=lambda grad, value: value * value),
    adam_fault("AdamW's weight decay dropped", decay=0.0),
    adam_fault("AdamW's weight decay doubled", decay=2.0),
    adam_fault("AdamW's weight decay coupled", coupled=True),
    Regression("gradient clipping turned on", "adamw", with_attribute(FleetOptimizer, "step", clipped)),
    Regression("warm-up missing", "adamw", with_attribute(Schedule, "factor", without_warmup)),
    Regression("schedule one step early", "adamw", with_attribute(Schedule, "factor", one_step_late)),
    Regression("LoRA's alpha ignored", "adamw", with_attribute(low_rank, "ALPHA_OVER_RANK", 1.0)),
    Regression(
        "LoRA's A and B swapped at initialization",
        "adamw",
        with_attribute(fleet, "initialize_adapters", swapped_adapters),
    ),
    Regression("Newton-Schulz skipped", "muon", with_attribute(muon, "newton_schulz", not_orthogonal)),
    Regression(
        "Newton-Schulz with one step fewer", "muon", with_attribute(muon, "newton_schulz", newton_schulz(steps=4))
    ),
    Regression(
        "Newton-Schulz with a cubic, not a quintic polynomial",
        "muon",
        with_attribute(muon, "newton_schulz", newton_schulz(coefficients=(1.5, -0.5, 0.0))),
    ),
    Regression(
        "Muon's factor 0.2 sqrt(max) missing",
        "muon",
        with_attribute(muon, "update_scale", lambda rows, columns, scale: 1.0),
    ),
    Regression("embeddings and head routed to Muon", "muon", embeddings_to_muon),
    Regression("Muon without nesterov", "muon", with_step("muon", muon_step(nesterov=False))),
    Regression("Muon without momentum", "muon", with_step("muon", without_momentum)),
    Regression("weight decay dropped for hidden matrices", "muon", with_step("muon", without_decay)),
    Regression("SGD with dampening", "sgd", with_step("sgd", sgd_step(dampening=0.9))),
    Regression("SGD with nesterov", "sgd", with_step("sgd", sgd_step(nesterov=True))),
    Regression("SGD's weight decay dropped", "sgd", with_step("sgd", sgd_step(decay=0.0))),
    Regression("SGD's weight decay decoupled", "sgd", with_step("sgd", sgd_step(decoupled=True))),
]
