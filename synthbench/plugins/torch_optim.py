"""Any `torch.optim.Optimizer`: one instance per run, over views of that run's row of the flat buffers.

Every matrix is a separate parameter (q, k and v, too), every vector a parameter of one dimension. What an optimizer
computes over all its parameters (a norm, a step count) it computes within its run: members of a fleet are independent.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbench.common.errors import BadInput
from synthbench.plugins.decorators import CustomOptimizer
from synthbench.plugins.errors import check_not_text, describe, explain_step, is_out_of_memory
from synthbench.plugins.loading import preserved_settings
from synthbench.trainer.optimizers.muon import matrices
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OURS = ("routing", "aux_lr_ratio", "group")  # options that are not arguments of the constructor
NEEDED = inspect.Parameter.empty  # in place of the default of an argument that has none
RATE = 1e-3  # where a constructor has no default


def custom_optimizer(cls: type[torch.optim.Optimizer]) -> CustomOptimizer:
    """A class as an optimizer: its arguments without rate and decay, and the rate that its grid lies around."""
    import torch

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        step(cls, blocks, state, hyper, arguments)

    known = defaults(cls)
    lr = known.get("lr")
    return CustomOptimizer(
        Implementation(lambda blocks, arguments: {"optimizers": [], "parameters": [], "draws": []}, move, set_evaluating),
        float(lr) if isinstance(lr, int | float) else RATE,
        {name: default for name, default in known.items() if name not in ("lr", "weight_decay")},
        routing="hidden" if cls is getattr(torch.optim, "Muon", None) else "all", written=cls,
        takes_any=any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values()),
    )  # fmt: skip


def defaults(cls: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """The constructor's arguments with their defaults (NEEDED: none), without the first, the parameters to move."""
    others = [*inspect.signature(cls).parameters.values()][1:]
    return {p.name: p.default for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def instance(
    cls: type[torch.optim.Optimizer], parameters: Sequence[torch.nn.Parameter], options: Mapping[str, Any],
    weight_decay: float,
) -> torch.optim.Optimizer:  # fmt: skip
    """An instance over one group of parameters, at some rate where the constructor has no default: every step sets it.

    options: arguments of the constructor; `group` has keys of the group itself. Raises BadInput where it cannot be made.
    """
    known, name, group_keys = defaults(cls), cls.__name__, options.get("group")
    check_not_text(name, options, known)
    keywords = {key: value for key, value in options.items() if key not in OURS}
    if known.get("lr") is NEEDED:
        keywords["lr"] = 1.0
    if "weight_decay" in known:
        keywords["weight_decay"] = weight_decay
    for key, default in known.items():
        if isinstance(default, tuple) and isinstance(keywords.get(key), list):
            keywords[key] = tuple(keywords[key])  # cards have no tuples
        if default is NEEDED and key not in keywords:
            raise BadInput(f"{name} needs the argument {key!r}; give it as --set optimizer.{key}=VALUE.")
    try:
        optimizer = cls([{"params": list(parameters), **group_keys}] if group_keys else parameters, **keywords)
    except Exception as error:
        hint = "" if group_keys else "; if its groups of parameters need keys, give --set optimizer.group={KEY=VALUE}"
        raise BadInput(
            f"{name} cannot be made of a list of the model's parameters: {describe(error)}{hint}."
        ) from error
    if not all("lr" in group for group in optimizer.param_groups):
        raise BadInput(f"{name} has no learning rate `lr` in its groups of parameters, so none can be set.")
    if "weight_decay" not in known:
        for group in optimizer.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = weight_decay
    return optimizer


def of_run(stacked: Sequence[Tensor], k: int) -> list[Tensor]:
    """The parameters of run k in order, each matrix and each vector by itself. stacked: as `matrices` has them."""
    return [matrix for stack in stacked for matrix in stack[k]]


def step(cls: type[torch.optim.Optimizer], blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    """Makes one step of every run's instance. The first one makes the instances: weight decays are not known before."""
    import torch

    values, grads = matrices(blocks, "value_Kn"), matrices(blocks, "grad_Kn")
    if not state["optimizers"]:
        _begin(cls, values, state, hyper, arguments)
    for k, optimizer in enumerate(state["optimizers"]):
        if optimizer is None:  # the run has diverged
            continue
        parameters, failure = state["parameters"][k], None
        for parameter, grad in zip(parameters, of_run(grads, k), strict=True):
            parameter.grad = grad
        for group in optimizer.param_groups:
            set_rate(group, float(hyper.lr_K[k]))
        try:
            with drawing(state["draws"], k), torch.enable_grad():  # as in any training loop
                optimizer.step()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            failure = error
        check_shapes(cls, parameters, of_run(values, k))  # a change of them may be why it failed
        if failure is None:
            continue
        if not has_diverged(failure, parameters):
            raise BadInput(
                f"{cls.__name__} failed at step {hyper.step}: {explain_step(failure, parameters)}."
            ) from failure
        state["optimizers"][k] = None
        for view in of_run(values, k):
            view.fill_(torch.nan)


def check_shapes(cls: type, parameters: Sequence[Tensor], views: Sequence[Tensor]) -> None:
    """Raises BadInput where a parameter of a run is not its view any more."""
    for p, view in zip(parameters, views, strict=True):
        if p.shape != view.shape:
            was, now = tuple(view.shape), tuple(p.shape)
            raise BadInput(f"{cls.__name__} changes the shape of a parameter from {was} to {now}.")
        if p.data_ptr() != view.data_ptr():
            raise BadInput(f"{cls.__name__} gives its parameters other memory; it must change them in place.")


def _begin(
    cls: type[torch.optim.Optimizer], values: Sequence[Tensor], state: State, hyper: Hyper, arguments: Any
) -> None:
    """An instance for each run, and the state of its random numbers."""
    import torch

    options = arguments.model_dump()
    for k, weight_decay in enumerate(hyper.weight_decay_K.tolist()):
        parameters = [torch.nn.Parameter(view) for view in of_run(values, k)]
        state["parameters"].append(parameters)
        state["draws"].append(None)
        with preserved_settings(), drawing(state["draws"], k):
            state["optimizers"].append(instance(cls, parameters, options, weight_decay))
    set_evaluating(state, False)


def has_diverged(error: Exception, parameters: Sequence[Tensor]) -> bool:
    """Whether a step raised because its run diverged: weights or gradients are not finite, or its algebra fails."""
    import torch

    if isinstance(error, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        return True
    tensors = [tensor for p in parameters for tensor in (p.detach(), p.grad) if tensor is not None]
    return not all(torch.isfinite(tensor).all() for tensor in tensors)


@contextmanager
def drawing(draws: list[Any], k: int) -> Iterator[None]:
    """Random numbers as if run k were alone, the same for every run, without effect outside.

    draws: for each run the states that its generators have reached, None at first.
    """
    import torch

    generators: list[tuple[Any, Any]] = [
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
        for (_, put), state in zip(generators, draws[k], strict=True):
            put(state)
    try:
        yield
    finally:
        draws[k] = [get() for get, _ in generators]
        for (_, put), state in zip(generators, before, strict=True):
            put(state)


def set_rate(group: dict[str, Any], lr: float) -> None:
    """Sets a group's learning rate in place where it is a tensor."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def set_evaluating(state: State, evaluating: bool) -> None:
    """Calls `eval()` or `train()` of optimizers that average weights (Schedule-Free, arXiv 2405.15682)."""
    for optimizer in state["optimizers"]:
        turn = getattr(optimizer, "eval" if evaluating else "train", None)
        if callable(turn):
            turn()
