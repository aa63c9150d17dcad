"""Makes optimizers of functions: for one matrix, batched by `torch.vmap`, or for the flat buffers of a whole fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, get_args

from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.plugins import errors
from synthbench.trainer.optimizers.muon import matrices
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, State

if TYPE_CHECKING:
    from torch import Tensor

Routing = Literal["all", "hidden"]
OURS = {"routing", "aux_lr_ratio", "own_rate", "decay_in_force"}  # options of every plug-in
RESERVED = OURS | {"step", "weight_decay"}  # names that no argument can have
Update = Callable[["Tensor", dict[str, "Tensor"], "Tensor", Any], "tuple[Tensor, dict[str, Tensor]]"]
Start = Callable[[Sequence[Block], Any], State]
Step = Callable[[Sequence[Block], State, Hyper, Any], None]


@dataclass(frozen=True)
class CustomOptimizer:
    """An optimizer made of a function (or, by torch_optim, of a class).

    lr: the rate that its grid lies around. arguments: names and defaults. routing: whether it moves all parameters, or the
    hidden matrices, and AdamW the rest. written: the function. kept: the names of what a matrix optimizer keeps for each
    matrix, else None. takes_any: whether it accepts arguments of any name. given: how a class wants its parameters, where
    that is not one list.
    """

    implementation: Implementation
    lr: float
    arguments: Mapping[str, Any]
    routing: Routing
    written: Callable[..., Any]
    kept: tuple[str, ...] | None = None
    takes_any: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


class Values(SimpleNamespace):
    """Values by name; an unknown name raises AttributeError that lists the known ones."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {shown(name)} here{did_you_mean(name, vars(self))}")


def matrix_optimizer(
    without_parentheses: None = None, /, *, state: Sequence[str] = (), lr: float = 1e-3, routing: Routing = "all",
    **arguments: Any,
) -> Callable[[Update], CustomOptimizer]:  # fmt: skip
    """Makes an optimizer of `update(grad, state, param, hyper) -> (param, state)`, written for one matrix of one run.

    hyper has lr and weight_decay (tensors without dimensions), step (from 1) and the arguments. The function sees a vector
    where a parameter is one. torch.vmap batches it over matrices and runs, so it neither branches on values nor draws
    random numbers.

    Args:
        state: Names of tensors kept for every matrix, zeros of its shape at first.
        lr: The rate that its grid lies around.
        routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors).
        **arguments: Names and defaults of others, which `--set optimizer.NAME=value` changes.

    Returns:
        A decorator, which makes an optimizer of the function.

    Raises:
        ValueError: For what is not allowed.
    """
    if without_parentheses is not None:
        raise ValueError(f"{name_of(without_parentheses)}: write @synthbench.matrix_optimizer(...), with parentheses")

    def make(update: Update) -> CustomOptimizer:
        name = name_of(update)
        check(name, state, routing, arguments)

        def start(blocks: Sequence[Block], options: Any) -> State:
            arguments_of(name, arguments, options)
            values = matrices(blocks, "value_Kn")
            return {"kept": [{key: value.new_zeros(value.shape) for key in state} for value in values]}

        def step(blocks: Sequence[Block], kept: State, hyper: Hyper, options: Any) -> None:
            chosen = arguments_of(name, arguments, options)
            pairs = zip(matrices(blocks, "value_Kn"), matrices(blocks, "grad_Kn"), strict=True)
            for index, (value, grad) in enumerate(pairs):
                moved, after = batched(update, grad, kept["kept"][index], value, hyper, chosen)
                kept["kept"][index] = copied_from(after, (value, grad))
                value.copy_(moved)

        return CustomOptimizer(Implementation(start, step), lr, arguments, routing, update, tuple(state))

    return make


def fleet_optimizer(
    step: Step, *, lr: float = 1e-3, routing: Routing = "all", start: Start = lambda blocks, arguments: {},
    **arguments: Any,
) -> CustomOptimizer:  # fmt: skip
    """Makes an optimizer of `step(blocks, state, hyper, arguments)`, written for the flat buffers of a fleet.

    It moves `block.value_Kn` by `block.grad_Kn` in place, (K, n) each, for K runs and n floats. Runs are independent: every
    reduction is over a row. hyper has step (from 1), lr_K and weight_decay_K, shape (K,), on the buffers' device. arguments
    are attributes.

    Args:
        step: The function.
        lr: The rate that its grid lies around.
        routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors).
        start: `start(blocks, arguments) -> state`, called once before.
        **arguments: Names and defaults of others, as in `matrix_optimizer`.

    Returns:
        The optimizer.

    Raises:
        ValueError: For what is not allowed.
    """
    name = name_of(step)
    check(name, (), routing, arguments)

    def begin(blocks: Sequence[Block], options: Any) -> State:
        values = Values(**arguments_of(name, arguments, options))
        with explained(f"{name} failed before its first step"):
            return start(blocks, values)

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, options: Any) -> None:
        device, values = blocks[0].value_Kn.device, Values(**arguments_of(name, arguments, options))
        local = Hyper(hyper.step, hyper.lr_K.to(device), hyper.weight_decay_K.to(device))
        with explained(f"{name} failed at step {hyper.step}"):
            step(blocks, state, local, values)

    return CustomOptimizer(Implementation(begin, move), lr, arguments, routing, step)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Makes what a person's function raises a BadInput that begins with `what` and names the line of their file."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, BadInput) or errors.is_out_of_memory(error):
            raise
        raise BadInput(f"{what}: {errors.describe(error)}.") from error


def check(name: str, state: Any, routing: Any, arguments: Mapping[str, Any]) -> None:
    """Raises ValueError for what a decorator cannot be given; loading adds the file."""
    if isinstance(state, str) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"{name}: state = {shown(state)} must be a tuple of names, such as ('momentum',)")
    if routing not in get_args(Routing):
        raise ValueError(f"{name}: routing = {shown(routing)} must be 'all' or 'hidden'")
    for key in arguments:
        if key in RESERVED:
            raise ValueError(f"{name}: no argument can be called {key}; every optimizer has that")


def name_of(function: Any) -> str:
    """The name of a function in messages."""
    return str(getattr(function, "__name__", "the optimizer"))


def arguments_of(name: str, defaults: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """Arguments with their defaults; raises BadInput for text in place of a number."""
    chosen: dict[str, Any] = options.model_dump(exclude=OURS)
    errors.check_not_text(name, chosen, defaults)
    return dict(defaults) | chosen


def copied_from(state: dict[str, Tensor], others: Sequence[Tensor]) -> dict[str, Tensor]:
    """The state, copied where it shares memory with tensors that change: an optimizer may keep the parameter itself."""
    changing = [other.untyped_storage().data_ptr() for other in others]
    return {key: kept.clone() if kept.untyped_storage().data_ptr() in changing else kept for key, kept in state.items()}


def batched(
    update: Update, grad: Tensor, state: dict[str, Tensor], value: Tensor, hyper: Hyper, arguments: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The update of every matrix of every run: leading dimensions K and M.

    Raises BadInput where the update fails or returns something else than a parameter and its state.
    """
    import torch

    shape, declared = tuple(value.shape[2:]), tuple(state)

    def of_one(grad: Tensor, state: dict[str, Tensor], value: Tensor, lr: Tensor, decay: Tensor) -> Any:
        result = update(grad, state, value, Values(lr=lr, weight_decay=decay, step=hyper.step, **arguments))
        errors.check_result(name_of(update), result, shape, declared)
        return result

    of_runs = torch.vmap(torch.vmap(of_one, in_dims=(0, 0, 0, None, None)))
    # Copies: an optimizer that halves `hyper.lr` in place would halve it for all parameters after this one
    rates = hyper.lr_K.to(value.device, copy=True), hyper.weight_decay_K.to(value.device, copy=True)
    try:
        result: tuple[Tensor, dict[str, Tensor]] = of_runs(grad, state, value, *rates)
    except (Exception, SystemExit) as error:
        if isinstance(error, BadInput) or errors.is_out_of_memory(error):
            raise
        why = errors.explain_update(error, shape, declared)
        raise BadInput(f"{name_of(update)} failed at step {hyper.step}: {why}.") from error
    return result
