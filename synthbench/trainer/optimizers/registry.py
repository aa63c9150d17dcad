"""Optimizers as data: which parameter each moves, with which arguments. Imports no torch.

An implementation is two functions over blocks of parameters; an optimizer adds a routing table (pattern -> optimizer,
first match wins) and arguments. LoRA changes what the table is applied to, never the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from synthbench.cards import Card
from synthbench.trainer.layout import Layout, Parameter

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, Any]


class Hyper(NamedTuple):
    """Of one step: step number from 1, learning rate and weight decay of each run, shape (K,), float32 on the CPU.

    For a capturable implementation on CUDA all three are tensors there, the step one without dimensions.
    """

    step: int | Tensor
    lr_K: Tensor
    weight_decay_K: Tensor


class Block(NamedTuple):
    """Parameters that lie side by side and follow one optimizer: value and gradient as (K, n) views of the flat buffers."""

    value_Kn: Tensor
    grad_Kn: Tensor
    parameters: tuple[Parameter, ...]


class Implementation(NamedTuple):
    """start(blocks, arguments) -> state; step(blocks, state, hyper, arguments) moves the blocks' values in place.

    set_evaluating(state, True), where an optimizer has it, puts the weights to be evaluated in place of those that are
    trained (an average of the path, say); set_evaluating(state, False) puts these back. is_capturable: a step launches the
    same kernels whatever the values, and asks the device for none: a CUDA graph can hold it.
    """

    start: Callable[[Sequence[Block], Any], State]
    step: Callable[[Sequence[Block], State, Hyper, Any], None]
    set_evaluating: Callable[[State, bool], None] = lambda state, evaluating: None
    is_capturable: bool = False


class Optimizer(NamedTuple):
    """What `--optimizer NAME` means. routing: (pattern of parameter names, optimizer), in order. arguments: their defaults.

    grid: learning rates where a card has none for it. plugin: of one that is not built in, what is known of its code.
    """

    name: str
    summary: str
    source: str
    arguments: type[Card]
    routing: tuple[tuple[str, str], ...]
    grid: tuple[float, ...] = ()
    plugin: Any = None


IMPLEMENTATIONS: dict[str, Implementation] = {}
OPTIMIZERS: dict[str, Optimizer] = {}


def register(optimizer: Optimizer, implementation: Implementation) -> None:
    """Adds an optimizer with its implementation; raises ValueError if the name is taken."""
    if optimizer.name in OPTIMIZERS:
        raise ValueError(f"An optimizer named {optimizer.name!r} is registered already.")
    OPTIMIZERS[optimizer.name] = optimizer
    IMPLEMENTATIONS[optimizer.name] = implementation


def route(routing: Sequence[tuple[str, str]], layout: Layout) -> dict[str, str]:
    """The optimizer of every parameter, first match wins; raises ValueError for a parameter that matches none."""
    table = {}
    for name in layout.parameters:
        optimizer = next((optimizer for pattern, optimizer in routing if fnmatchcase(name, pattern)), None)
        if optimizer is None:
            raise ValueError(f"Parameter {name!r} matches no pattern of the routing {list(routing)}.")
        table[name] = optimizer
    return table


def spans(table: dict[str, str], layout: Layout) -> dict[str, list[tuple[Parameter, ...]]]:
    """For each optimizer its parameters, those side by side in the buffer together."""
    by_optimizer: dict[str, list[list[Parameter]]] = {}
    previous = None
    for name, optimizer in table.items():
        if optimizer == previous:
            by_optimizer[optimizer][-1].append(layout.parameters[name])
        else:
            by_optimizer.setdefault(optimizer, []).append([layout.parameters[name]])
        previous = optimizer
    return {optimizer: [tuple(span) for span in spans] for optimizer, spans in by_optimizer.items()}
