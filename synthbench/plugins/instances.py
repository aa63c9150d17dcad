"""Any `torch.optim.Optimizer` as a rule: one instance per run, over views of that run's row of the flat buffers.

Every matrix is a parameter of its own (q, k and v apart), every vector one of one dimension. What an optimizer computes
over all its parameters (a norm, a step count) it computes within its run: members of a fleet know nothing of each other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthbench.trainer.rules.registry import Block, Hyper, Rule, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def rule(made_by: type[torch.optim.Optimizer]) -> Rule:
    """The rule that moves blocks as this class of optimizers does."""

    def start(blocks: Sequence[Block], arguments: Any) -> State:
        return begin(made_by, blocks, arguments.model_dump(exclude={"routing"}))

    return Rule(start, step, look)


def instance(
    made_by: type[torch.optim.Optimizer], parameters: Sequence[torch.nn.Parameter], given: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """An optimizer of a class with these arguments; where it has no default rate, some rate (it is set at every step)."""
    known = signature(made_by)
    needs_rate = "lr" in known and known["lr"].default is inspect.Parameter.empty
    return made_by(parameters, **({"lr": 1.0} if needs_rate else {}), **keywords(made_by, given))


def begin(made_by: type[torch.optim.Optimizer], blocks: Sequence[Block], given: Mapping[str, Any]) -> State:
    """An instance for each run, and the state of the random numbers that it draws from."""
    import torch

    runs = len(blocks[0].value_Kn)
    parameters = [[torch.nn.Parameter(view) for view in views_of_run(blocks, "value_Kn", k)] for k in range(runs)]
    return {
        "optimizers": [instance(made_by, own, given) for own in parameters],
        "parameters": parameters,
        "random": [torch.Generator().manual_seed(0).get_state() for _ in range(runs)],
    }


def views_of_run(blocks: Sequence[Block], attribute: str, k: int) -> Iterator[Tensor]:
    """The parameters of one run in order, each matrix and each vector by itself."""
    for block in blocks:
        row, begin = getattr(block, attribute)[k], block.parameters[0].offset
        for parameter in block.parameters:
            whole = row[parameter.offset - begin : parameter.offset - begin + parameter.size].view(parameter.shape)
            yield from whole if len(parameter.shape) > 2 else (whole,)


def step(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):  # rules draw as if they were alone, and disturb nobody
        for k, optimizer in enumerate(state["optimizers"]):
            for parameter, grad in zip(state["parameters"][k], views_of_run(blocks, "grad_Kn", k), strict=True):
                parameter.grad = grad
            for group in optimizer.param_groups:
                set_rate(group, float(hyper.lr_K[k]))
                if "weight_decay" in group:
                    group["weight_decay"] = float(hyper.weight_decay_K[k])
            torch.set_rng_state(state["random"][k])
            with torch.enable_grad():  # as in anybody's loop; what a step does inside is its own matter
                optimizer.step()
            state["random"][k] = torch.get_rng_state()


def set_rate(group: dict[str, Any], lr: float) -> None:
    """Sets a group's learning rate as what it was: some optimizers keep it in a tensor."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def look(state: State, looking: bool) -> None:
    """`eval()` and `train()` of optimizers that average weights (Schedule-Free, arXiv 2405.15682)."""
    for optimizer in state["optimizers"]:
        turn = getattr(optimizer, "eval" if looking else "train", None)
        if callable(turn):
            turn()


def signature(made_by: type[torch.optim.Optimizer]) -> dict[str, inspect.Parameter]:
    """The constructor's arguments by name, beside the parameters that it gets first."""
    return dict(list(inspect.signature(made_by).parameters.items())[1:])


def keywords(made_by: type[torch.optim.Optimizer], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the constructor takes them: cards have no tuples, nor rates in this place."""
    known = signature(made_by)
    return {
        name: tuple(value) if isinstance(value, list) and isinstance(_default(known.get(name)), tuple) else value
        for name, value in given.items()
    }


def _default(parameter: inspect.Parameter | None) -> Any:
    return None if parameter is None else parameter.default
