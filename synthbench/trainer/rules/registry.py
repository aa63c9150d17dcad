"""Optimizers as data: which rule moves which parameter, with which arguments. Imports no torch.

A rule is two functions over blocks of parameters; an optimizer is a routing table (pattern -> rule, first match wins)
and the arguments of its rules. LoRA changes what the table is applied to, never the table.
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
    """Of one step: step number from 1, learning rate and weight decay of each run, shape (K,), float32 on the CPU."""

    step: int
    lr_K: Tensor
    weight_decay_K: Tensor


class Block(NamedTuple):
    """Parameters that lie side by side and follow one rule: value and gradient as (K, n) views of the flat buffers."""

    value_Kn: Tensor
    grad_Kn: Tensor
    parameters: tuple[Parameter, ...]


class Rule(NamedTuple):
    """start(blocks, arguments) -> state; step(blocks, state, hyper, arguments) moves the blocks' values in place.

    look(state, True), where a rule has it, puts the weights that are to be looked at in place of those that are trained,
    look(state, False) these back (an average of the path, say).
    """

    start: Callable[[Sequence[Block], Any], State]
    step: Callable[[Sequence[Block], State, Hyper, Any], None]
    look: Callable[[State, bool], None] = lambda state, looking: None


class Optimizer(NamedTuple):
    """What `--optimizer NAME` means. routing: (pattern of parameter names, rule), in order. arguments: their defaults.

    grid: learning rates where a card has none for it.
    """

    name: str
    summary: str
    source: str
    arguments: type[Card]
    routing: tuple[tuple[str, str], ...]
    grid: tuple[float, ...] = ()


RULES: dict[str, Rule] = {}
OPTIMIZERS: dict[str, Optimizer] = {}


def register(optimizer: Optimizer, rule: Rule) -> None:
    """Adds an optimizer and the rule of the same name; raises ValueError if the name is taken."""
    if optimizer.name in OPTIMIZERS:
        raise ValueError(f"An optimizer named {optimizer.name!r} is registered already.")
    OPTIMIZERS[optimizer.name] = optimizer
    RULES[optimizer.name] = rule


def route(routing: Sequence[tuple[str, str]], layout: Layout) -> dict[str, str]:
    """The rule of every parameter, first match wins; raises ValueError for a parameter that no pattern claims."""
    table = {}
    for name in layout.parameters:
        rule = next((rule for pattern, rule in routing if fnmatchcase(name, pattern)), None)
        if rule is None:
            raise ValueError(f"Parameter {name!r} is claimed by no pattern of the routing {list(routing)}.")
        table[name] = rule
    return table


def spans(table: dict[str, str], layout: Layout) -> dict[str, list[tuple[Parameter, ...]]]:
    """For each rule its parameters, those side by side in the buffer together."""
    runs: dict[str, list[list[Parameter]]] = {}
    previous = None
    for name, rule in table.items():
        if rule == previous:
            runs[rule][-1].append(layout.parameters[name])
        else:
            runs.setdefault(rule, []).append([layout.parameters[name]])
        previous = rule
    return {rule: [tuple(run) for run in found] for rule, found in runs.items()}
