"""Optimizers of one's own: for one matrix, batched by `torch.vmap`, or for the flat buffers of a whole fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, get_args

from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.plugins import errors
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, State

if TYPE_CHECKING:
    from torch import Tensor

Routing = Literal["all", "hidden"]
OURS = {"routing", "aux_lr_ratio"}  # arguments that are no optimizer's own
ELSEWHERE = OURS | {"step", "weight_decay"}  # names that arguments of one's own cannot have
Update = Callable[["Tensor", dict[str, "Tensor"], "Tensor", Any], "tuple[Tensor, dict[str, Tensor]]"]


@dataclass(frozen=True)
class CustomOptimizer:
    """An optimizer that somebody wrote. lr: the rate that its grid lies around. arguments: names and defaults. routing: whether
    it moves all parameters, or the hidden matrices and AdamW the rest. written: the function that it was made of. kept:
    what an optimizer for one matrix keeps for each, None for an optimizer on flat buffers."""

    implementation: Implementation
    lr: float
    arguments: Mapping[str, Any]
    routing: Routing
    written: Callable[..., Any]
    kept: tuple[str, ...] | None = None


class Given(SimpleNamespace):
    """Values by name; one that is not there is told with those that are."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {shown(name)} here{did_you_mean(name, vars(self))}")


def matrix_optimizer(
    without_parentheses: None = None, /, *, state: Sequence[str] = (), lr: float = 1e-3, routing: Routing = "all",
    **arguments: Any,
) -> Callable[[Update], CustomOptimizer]:  # fmt: skip
    """Makes `update(grad, state, param, hyper) -> (param, state)`, written for one matrix, an optimizer.

    state: names of tensors that it keeps for every matrix, zeros of the matrix's shape at first. lr: the rate that its grid
    lies around. routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors). arguments: its own, with defaults;
    `--set optimizer.NAME=value` changes one. hyper has lr, weight_decay (tensors without dimensions), step (from 1) and the
    arguments. The function sees one matrix of one run (a vector where a parameter is one), and is batched by torch.vmap: it
    neither branches on values nor draws random numbers. Raises ValueError for what none of these can be.
    """
    if without_parentheses is not None:
        raise ValueError(f"{name_of(without_parentheses)}: write @synthbench.matrix_optimizer(...), with parentheses")

    def made(update: Update) -> CustomOptimizer:
        name = name_of(update)
        check(name, state, routing, arguments)

        def start(blocks: Sequence[Block], given: Any) -> State:
            own_arguments(name, arguments, given)
            return {"kept": [{name: value.new_zeros(value.shape) for name in state}
                             for block in blocks for value in stacks(block, block.value_Kn)]}  # fmt: skip

        def step(blocks: Sequence[Block], kept: State, hyper: Hyper, given: Any) -> None:
            own = own_arguments(name, arguments, given)
            values = [value for block in blocks for value in stacks(block, block.value_Kn)]
            grads = [grad for block in blocks for grad in stacks(block, block.grad_Kn)]
            for place, (value, grad) in enumerate(zip(values, grads, strict=True)):
                new, found = batched(update, grad, kept["kept"][place], value, hyper, own)
                kept["kept"][place] = apart(found, (value, grad))
                value.copy_(new)

        return CustomOptimizer(Implementation(start, step), lr, arguments, routing, update, tuple(state))

    return made


def check(name: str, state: Any, routing: Any, arguments: Mapping[str, Any]) -> None:
    """Raises ValueError, which loading says with the file, where what a decorator was given cannot be."""
    if isinstance(state, str) or not all(isinstance(one, str) for one in state):
        raise ValueError(f"{name}: state = {shown(state)} must be a tuple of names, such as ('momentum',)")
    if routing not in get_args(Routing):
        raise ValueError(f"{name}: routing = {shown(routing)} must be 'all' or 'hidden'")
    for key in arguments:
        if key in ELSEWHERE:
            raise ValueError(f"{name}: an argument of its own cannot be called {key}; every optimizer has that")


def fleet_optimizer(
    step: Callable[[Sequence[Block], State, Hyper, Any], None], *, lr: float = 1e-3, routing: Routing = "all",
    start: Callable[[Sequence[Block], Any], State] = lambda blocks, given: {}, **arguments: Any,
) -> CustomOptimizer:  # fmt: skip
    """An optimizer on the flat buffers of a fleet: `start(blocks, arguments) -> state`, `step(blocks, state, hyper, arguments)`
    moves `block.value_Kn` by `block.grad_Kn` in place, (K, n) each; K runs, n floats. Runs know nothing of each other:
    every reduction is over a row. hyper has step (from 1), lr_K and weight_decay_K, shape (K,), on the buffers' device;
    arguments are attributes. See `matrix_optimizer` for the rest."""
    name = name_of(step)
    check(name, (), routing, arguments)

    def begin(blocks: Sequence[Block], given: Any) -> State:
        return start(blocks, Given(**own_arguments(name, arguments, given)))

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, given: Any) -> None:
        device = blocks[0].value_Kn.device
        here = Hyper(hyper.step, hyper.lr_K.to(device), hyper.weight_decay_K.to(device))
        step(blocks, state, here, Given(**own_arguments(name, arguments, given)))

    return CustomOptimizer(Implementation(begin, move), lr, arguments, routing, step)


def name_of(written: Any) -> str:
    """What a function is called in messages."""
    return str(getattr(written, "__name__", "the optimizer"))


def own_arguments(name: str, defaults: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """An optimizer's own arguments; raises BadInput where text stands in place of a number."""
    asked: dict[str, Any] = given.model_dump(exclude=OURS)
    errors.check_no_text(name, asked, defaults)
    return dict(defaults) | asked


def stacks(block: Block, flat_Kn: Tensor) -> list[Tensor]:
    """A block's parameters as (K, M, rows, columns) views, vectors as (K, 1, n)."""
    found, begin = [], block.parameters[0].offset
    for parameter in block.parameters:
        piece = flat_Kn[:, parameter.offset - begin : parameter.offset - begin + parameter.size]
        found.append(piece.view(len(flat_Kn), -1, *parameter.shape[-2:]))
    return found


def apart(state: dict[str, Tensor], others: Sequence[Tensor]) -> dict[str, Tensor]:
    """The state, copied where it lies in the memory of others, which change: an optimizer may keep the parameter itself."""
    changing = {other.untyped_storage().data_ptr() for other in others}
    return {
        name: value.clone() if value.untyped_storage().data_ptr() in changing else value
        for name, value in state.items()
    }


def batched(
    update: Update, grad: Tensor, state: dict[str, Tensor], value: Tensor, hyper: Hyper, arguments: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The update of every matrix of every run: leading dimensions K and M. Raises BadInput where it fails, or returns what
    it may not."""
    import torch

    def one(grad: Tensor, state: dict[str, Tensor], value: Tensor, lr: Tensor, decay: Tensor) -> Any:
        own = Given(lr=lr, weight_decay=decay, step=hyper.step, **arguments)
        shape, declared = value.shape, tuple(state)
        found = update(grad, state, value, own)
        errors.check_returned(name_of(update), found, shape, declared)
        return found

    of_matrices = torch.vmap(one, in_dims=(0, 0, 0, None, None))
    of_runs = torch.vmap(of_matrices, in_dims=(0, 0, 0, 0, 0))
    # Copies: an optimizer that halves `hyper.lr` in place would halve it for all parameters after this one
    rates = hyper.lr_K.to(value.device, copy=True), hyper.weight_decay_K.to(value.device, copy=True)
    try:
        found: tuple[Tensor, dict[str, Tensor]] = of_runs(grad, state, value, *rates)
    except Exception as error:
        if isinstance(error, BadInput) or errors.is_of_memory(error):
            raise
        why = errors.of_update(error, tuple(value.shape[2:]), tuple(state))
        raise BadInput(f"{name_of(update)} failed at step {hyper.step}: {why}.") from error
    return found
