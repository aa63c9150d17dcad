"""Any `torch.optim.Optimizer` as an optimizer: one instance per run, over views of that run's row of the flat buffers.

Every matrix is a parameter of its own (q, k and v apart), every vector one of one dimension. What an optimizer computes
over all its parameters (a norm, a step count) it computes within its run: members of a fleet know nothing of each other.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbench.common.errors import BadInput
from synthbench.plugins.errors import check_no_text, is_of_memory, of_step, refusal
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OURS = ("routing", "aux_lr_ratio", "group")  # arguments that are no constructor's


def optimizer(made_by: type[torch.optim.Optimizer]) -> Implementation:
    """The optimizer that moves blocks as this class of optimizers does."""

    def start(blocks: Sequence[Block], arguments: Any) -> State:
        return {"optimizers": [], "parameters": [], "draws": []}

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        step(made_by, blocks, state, hyper, arguments)

    return Implementation(start, move, set_evaluating)


def instance(
    made_by: type[torch.optim.Optimizer], parameters: Sequence[torch.nn.Parameter], given: Mapping[str, Any],
    weight_decay: float,
) -> torch.optim.Optimizer:  # fmt: skip
    """An optimizer of a class with these arguments, over one group of parameters; where its constructor has no default
    rate, some rate (it is set at every step). given: `group` are keys of the group itself. Raises BadInput where it cannot
    be made."""
    import torch

    known, name = signature(made_by), made_by.__name__
    check_no_text(name, given, {key: one.default for key, one in known.items()})
    keywords = {key: as_taken(value, known.get(key)) for key, value in given.items() if key not in OURS}
    if "lr" in known and known["lr"].default is inspect.Parameter.empty:
        keywords["lr"] = 1.0
    if "weight_decay" in known:
        keywords["weight_decay"] = weight_decay
    for key, one in known.items():
        is_needed = one.default is inspect.Parameter.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        if is_needed and key not in keywords:
            raise BadInput(f"{name} needs the argument {key!r}; give it as --set optimizer.{key}=VALUE.")
    own = given.get("group")
    try:
        made = made_by([{"params": list(parameters), **own}] if own else parameters, **keywords)
    except Exception as error:
        how = (
            "" if own else "; keys of their group, where it wants some, are given as --set optimizer.group={KEY=VALUE}"
        )
        raise BadInput(f"{name} cannot be made of a list of the model's parameters: {refusal(error)}{how}.") from error
    if not isinstance(made, torch.optim.Optimizer) or not all("lr" in group for group in made.param_groups):
        raise BadInput(f"{name} has no learning rate `lr` in its groups of parameters, so none can be set.")
    if "weight_decay" not in known:
        for group in made.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = weight_decay
    return made


def views_of_run(blocks: Sequence[Block], attribute: str, k: int) -> Iterator[Tensor]:
    """The parameters of one run in order, each matrix and each vector by itself."""
    for block in blocks:
        row, begin = getattr(block, attribute)[k], block.parameters[0].offset
        for parameter in block.parameters:
            whole = row[parameter.offset - begin : parameter.offset - begin + parameter.size].view(parameter.shape)
            yield from whole if len(parameter.shape) > 2 else (whole,)


def step(
    made_by: type[torch.optim.Optimizer], blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any
) -> None:
    """Moves every run by a step of its own instance, which the first step makes: only then is a run's decay known."""
    import torch

    if not state["optimizers"]:
        _begin(made_by, blocks, state, hyper, arguments)
    for k, optimizer in enumerate(state["optimizers"]):
        if optimizer is None:  # it broke down
            continue
        for parameter, grad in zip(state["parameters"][k], views_of_run(blocks, "grad_Kn", k), strict=True):
            parameter.grad = grad
        for group in optimizer.param_groups:
            set_rate(group, float(hyper.lr_K[k]))
        try:
            with drawing(state["draws"], k), torch.enable_grad():  # as in anybody's loop
                optimizer.step()
        except Exception as error:
            if is_of_memory(error):
                raise
            check_shapes(made_by, blocks, state["parameters"][k], k)  # a change of shape is why, where there is one
            if not has_broken_down(error, state["parameters"][k]):
                why = of_step(error, state["parameters"][k])
                raise BadInput(f"{made_by.__name__} failed at step {hyper.step}: {why}.") from error
            state["optimizers"][k] = None
            for view in views_of_run(blocks, "value_Kn", k):
                view.fill_(torch.nan)
            continue
        check_shapes(made_by, blocks, state["parameters"][k], k)
        views = views_of_run(blocks, "value_Kn", k)
        if any(one.data_ptr() != view.data_ptr() for one, view in zip(state["parameters"][k], views, strict=True)):
            raise BadInput(f"{made_by.__name__} gives its parameters other memory; it must change them in place.")


def check_shapes(
    made_by: type[torch.optim.Optimizer], blocks: Sequence[Block], parameters: Sequence[torch.nn.Parameter], k: int
) -> None:
    """Raises BadInput where a parameter of run k no longer has its shape."""
    for one, view in zip(parameters, views_of_run(blocks, "value_Kn", k), strict=True):
        if one.shape != view.shape:
            was, now = tuple(view.shape), tuple(one.shape)
            raise BadInput(f"{made_by.__name__} changes the shape of a parameter from {was} to {now}.")


def _begin(
    made_by: type[torch.optim.Optimizer], blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any
) -> None:
    """An instance for each run, and the state of the random numbers that it draws."""
    import torch

    from synthbench.plugins.loading import put_back

    given = arguments.model_dump()
    for k in range(len(blocks[0].value_Kn)):
        own = [torch.nn.Parameter(view) for view in views_of_run(blocks, "value_Kn", k)]
        state["parameters"].append(own)
        state["draws"].append(None)
        with put_back(), drawing(state["draws"], k):
            made = instance(made_by, own, given, float(hyper.weight_decay_K[k]))
        state["optimizers"].append(made)
    set_evaluating(state, False)


def has_broken_down(error: Exception, parameters: Sequence[torch.nn.Parameter]) -> bool:
    """Whether a step raised because its run diverged: its weights or gradients are no numbers, or its algebra fails."""
    import torch

    if isinstance(error, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        return True
    return not all(torch.isfinite(one).all() for p in parameters for one in (p.detach(), p.grad) if one is not None)


@contextmanager
def drawing(draws: list[Any], k: int) -> Iterator[None]:
    """Random numbers as if run k were alone, the same for every run; they disturb nobody else's. draws: what each run's
    generators have come to, None at first."""
    import torch

    generators: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
        (torch.get_rng_state, torch.set_rng_state), (random.getstate, random.setstate),
        (np.random.get_state, np.random.set_state),
    ]  # fmt: skip
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        generators.append((torch.cuda.get_rng_state, torch.cuda.set_rng_state))
    before = [get() for get, _ in generators]
    if draws[k] is None:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
    else:
        for (_, put), kept in zip(generators, draws[k], strict=True):
            put(kept)
    try:
        yield
    finally:
        draws[k] = [get() for get, _ in generators]
        for (_, put), kept in zip(generators, before, strict=True):
            put(kept)


def set_rate(group: dict[str, Any], lr: float) -> None:
    """Sets a group's learning rate as what it was: some optimizers keep it in a tensor."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def set_evaluating(state: State, evaluating: bool) -> None:
    """`eval()` and `train()` of optimizers that average weights (Schedule-Free, arXiv 2405.15682)."""
    for optimizer in state["optimizers"]:
        turn = getattr(optimizer, "eval" if evaluating else "train", None)
        if callable(turn):
            turn()


def signature(made_by: type[torch.optim.Optimizer]) -> dict[str, inspect.Parameter]:
    """The constructor's arguments by name, beside the parameters that it gets first."""
    return dict(list(inspect.signature(made_by).parameters.items())[1:])


def as_taken(value: Any, parameter: inspect.Parameter | None) -> Any:
    """A value as a constructor takes it: cards have no tuples."""
    is_tuple = parameter is not None and isinstance(parameter.default, tuple)
    return tuple(value) if isinstance(value, list) and is_tuple else value
