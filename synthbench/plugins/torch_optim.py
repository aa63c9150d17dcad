"""Any `torch.optim.Optimizer`: one instance per run, over views of that run's row of the flat buffers.

Every matrix is a separate parameter (q, k and v, too), every vector a parameter of one dimension. What an optimizer
computes over all its parameters (a norm, a step count) it computes within its run: members of a fleet are independent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbench.common.errors import BadInput
from synthbench.plugins import groups
from synthbench.plugins.decorators import CustomOptimizer, explained
from synthbench.plugins.errors import explain_step, is_out_of_memory
from synthbench.plugins.settings import preserved_settings
from synthbench.trainer.optimizers.muon import matrices
from synthbench.trainer.optimizers.registry import Block, Hyper, Implementation, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def custom_optimizer(cls: type[torch.optim.Optimizer]) -> CustomOptimizer:
    """A class as an optimizer: its arguments without rate and decay, and the rate that its grid lies around."""

    def move(blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
        step(cls, blocks, state, hyper, arguments)

    known, as_wanted = groups.defaults(cls), groups.wanted(cls)
    return CustomOptimizer(
        Implementation(lambda blocks, arguments: {"instances": [], "parameters": [], "draws": []}, move, set_evaluating),
        groups.usual_rate(known.get("lr")) or groups.RATE,
        {name: default for name, default in known.items() if name not in ("lr", *groups.DECAYS)},
        routing="hidden" if as_wanted.get("groups") == "hidden" else "all", written=cls,
        takes_any=groups.takes_any(cls), given=as_wanted,
    )  # fmt: skip


def of_run(stacked: Sequence[Tensor], k: int) -> list[Tensor]:
    """The parameters of run k in order, each matrix and each vector by itself. stacked: as `matrices` has them."""
    return [matrix for stack in stacked for matrix in stack[k]]


def step(cls: type[torch.optim.Optimizer], blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any) -> None:
    """Makes one step of every run's instance. The first one makes the instances: weight decays are not known before."""
    import torch

    values, grads = matrices(blocks, "value_Kn"), matrices(blocks, "grad_Kn")
    if not state["instances"]:
        _begin(cls, blocks, state, hyper, arguments)
    for k, made in enumerate(state["instances"]):
        if made is None:  # the run has diverged
            continue
        parameters, failure = state["parameters"][k], None
        for parameter, grad in zip(parameters, of_run(grads, k), strict=True):
            parameter.grad = grad
        groups.set_rate(made, float(hyper.lr_K[k]))
        try:
            # settings too: a run would see what the one before it in the fleet has changed
            with preserved_settings(every=False), drawing(state["draws"], k), torch.enable_grad():
                made.optimizer.step()
        except (Exception, SystemExit) as error:
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
        state["instances"][k] = None
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
    cls: type[torch.optim.Optimizer], blocks: Sequence[Block], state: State, hyper: Hyper, arguments: Any
) -> None:
    """An instance for each run, and the state of its random numbers."""
    import torch

    options, values = arguments.model_dump(), matrices(blocks, "value_Kn")
    names = groups.names([parameter for block in blocks for parameter in block.parameters])
    for k, weight_decay in enumerate(hyper.weight_decay_K.tolist()):
        parameters = [torch.nn.Parameter(view) for view in of_run(values, k)]
        members = [
            groups.Member(name, parameter, is_hidden)
            for (name, is_hidden), parameter in zip(names, parameters, strict=True)
        ]
        state["parameters"].append(parameters)
        state["draws"].append(None)
        with preserved_settings(), drawing(state["draws"], k):
            state["instances"].append(groups.instance(cls, members, options, weight_decay))
    set_evaluating(state, False)


def has_diverged(error: BaseException, parameters: Sequence[Tensor]) -> bool:
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


def set_evaluating(state: State, evaluating: bool) -> None:
    """Calls `eval()` or `train()` of optimizers that average weights (Schedule-Free, arXiv 2405.15682)."""
    name = "eval" if evaluating else "train"
    for made in state["instances"]:
        turn = getattr(made and made.optimizer, name, None)
        if callable(turn):
            with explained(f"{type(made.optimizer).__name__}.{name}() failed"):
                turn()
