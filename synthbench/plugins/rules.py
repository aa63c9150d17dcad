"""Rules of one's own: for one matrix, batched by `torch.vmap`, or for the flat buffers of a whole fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from synthbench.trainer.rules.registry import Block, Hyper, Rule, State

if TYPE_CHECKING:
    from torch import Tensor

Routing = Literal["all", "hidden"]
OURS = {"routing", "aux_lr_ratio"}  # arguments that are no rule's own
Update = Callable[["Tensor", dict[str, "Tensor"], "Tensor", Any], "tuple[Tensor, dict[str, Tensor]]"]


@dataclass(frozen=True)
class OwnRule:
    """A rule that somebody wrote. lr: the rate that its grid lies around. arguments: names and defaults. routing: whether
    it moves all parameters, or the hidden matrices and AdamW the rest. written: the function that it was made of. kept:
    what a rule for one matrix keeps for each, None for a rule on flat buffers."""

    rule: Rule
    lr: float
    arguments: Mapping[str, Any]
    routing: Routing
    written: Callable[..., Any]
    kept: tuple[str, ...] | None = None


def matrix_rule(
    *, state: Sequence[str] = (), lr: float = 1e-3, routing: Routing = "all", **arguments: Any
) -> Callable[[Update], OwnRule]:
    """Makes `update(grad, state, param, hyper) -> (param, state)`, written for one matrix, an optimizer.

    state: names of tensors that it keeps for every matrix, zeros of the matrix's shape at first. lr: the rate that its grid
    lies around. routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors). arguments: its own, with defaults;
    `--set optimizer.NAME=value` changes one. hyper has lr, weight_decay (tensors without dimensions), step (from 1) and the
    arguments. The function sees one matrix of one run (a vector where a parameter is one), and is batched by torch.vmap: it
    changes nothing in place and draws no random numbers.
    """

    def made(update: Update) -> OwnRule:
        def start(blocks: Sequence[Block], given: Any) -> State:
            return {"kept": [{name: value.new_zeros(value.shape) for name in state}
                             for block in blocks for value in stacks(block, block.value_Kn)]}  # fmt: skip

        def step(blocks: Sequence[Block], kept: State, hyper: Hyper, given: Any) -> None:
            own = dict(arguments) | given.model_dump(exclude=OURS)
            values = [value for block in blocks for value in stacks(block, block.value_Kn)]
            grads = [grad for block in blocks for grad in stacks(block, block.grad_Kn)]
            for place, (value, grad) in enumerate(zip(values, grads, strict=True)):
                new, kept["kept"][place] = batched(update, grad, kept["kept"][place], value, hyper, own)
                value.copy_(new)

        return OwnRule(Rule(start, step), lr, arguments, routing, update, tuple(state))

    return made


def flat_rule(
    step: Callable[[Sequence[Block], State, Hyper, Any], None], *, lr: float = 1e-3, routing: Routing = "all",
    start: Callable[[Sequence[Block], Any], State] = lambda blocks, given: {}, **arguments: Any,
) -> OwnRule:  # fmt: skip
    """A rule on the flat buffers of a fleet: `start(blocks, arguments) -> state`, `step(blocks, state, hyper, arguments)`
    moves `block.value_Kn` by `block.grad_Kn` in place, (K, n) each; K runs, n floats. Runs know nothing of each other:
    every reduction is over a row. hyper has step (from 1), lr_K and weight_decay_K, shape (K,), on the buffers' device;
    arguments are attributes. See `matrix_rule` for the rest."""

    def begin(blocks: Sequence[Block], given: Any) -> State:
        return start(blocks, SimpleNamespace(**(dict(arguments) | given.model_dump(exclude=OURS))))

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, given: Any) -> None:
        device = blocks[0].value_Kn.device
        here = Hyper(hyper.step, hyper.lr_K.to(device), hyper.weight_decay_K.to(device))
        step(blocks, state, here, SimpleNamespace(**(dict(arguments) | given.model_dump(exclude=OURS))))

    return OwnRule(Rule(begin, move), lr, arguments, routing, step)


def stacks(block: Block, flat_Kn: Tensor) -> list[Tensor]:
    """A block's parameters as (K, M, rows, columns) views, vectors as (K, 1, n)."""
    found, begin = [], block.parameters[0].offset
    for parameter in block.parameters:
        piece = flat_Kn[:, parameter.offset - begin : parameter.offset - begin + parameter.size]
        found.append(piece.view(len(flat_Kn), -1, *parameter.shape[-2:]))
    return found


def batched(
    update: Update, grad: Tensor, state: dict[str, Tensor], value: Tensor, hyper: Hyper, arguments: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The update of every matrix of every run: leading dimensions K and M."""
    import torch

    def one(grad: Tensor, state: dict[str, Tensor], value: Tensor, lr: Tensor, decay: Tensor) -> Any:
        own = SimpleNamespace(lr=lr, weight_decay=decay, step=hyper.step, **arguments)
        return update(grad, state, value, own)

    of_matrices = torch.vmap(one, in_dims=(0, 0, 0, None, None))
    of_runs = torch.vmap(of_matrices, in_dims=(0, 0, 0, 0, 0))
    device = value.device
    found: tuple[Tensor, dict[str, Tensor]] = of_runs(
        grad, state, value, hyper.lr_K.to(device), hyper.weight_decay_K.to(device)
    )
    return found
