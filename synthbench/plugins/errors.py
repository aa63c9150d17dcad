"""Sentences on what a person's optimizer raised or returned: what it means, where in their file, at which shape.

Nothing here changes a number, and the identity of runs does not depend on this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, named, short, shown

if TYPE_CHECKING:
    from types import FrameType

    import torch

NEEDS_CLOSURE = "needs a closure; the losses of many runs are computed together, so none can be given"
VMAP_ERRORS = {  # part of torch.vmap's message: what it means for an optimizer of one matrix
    "data-dependent control flow": "an optimizer may not branch on values; use torch.where",
    "calling .item()": "an optimizer may not turn values into Python numbers (item, float, int); keep them tensors",
    "randomness error mode": "an optimizer may not draw random numbers",
    "dynamic shape": "an optimizer may not choose entries by a mask; use torch.where",
    "Cannot access data pointer": "an optimizer must compute with torch alone, without numpy",
}
# What torch's allocators and libraries say where it raises a plain RuntimeError for lack of memory
NO_MEMORY = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory"  # c10/core/impl/alloc_cpu.cpp
    r"|^std::bad_alloc$"
    r"|^CUDA (driver )?error: out of memory"
    r"|CU(BLAS_STATUS|DNN_STATUS|FFT|SOLVER_STATUS|SPARSE_STATUS)_ALLOC_FAILED"
)
VECTORS = '; vectors come too, unless routing="hidden"'


def describe(error: BaseException) -> str:
    """`KeyError: 'momentum' (mine.py, line 12)`: an error's type, message and place, in one line."""
    return named(short(f"{type(error).__name__}: {error}".strip().rstrip("."), 200)) + location(error)


def location(error: BaseException) -> str:
    """` (mine.py, line 12)`: the last line of a person's code that an error passed; "" where there is none."""
    frame, line = _user_frame(error)
    return f" ({named(Path(frame.f_code.co_filename).name)}, line {line})" if frame else ""


def _user_frame(error: BaseException) -> tuple[FrameType | None, int]:
    """The last frame, with its line, outside of torch, of this package and of the import system."""
    import torch

    ours = tuple(f"{folder}{os.sep}" for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))
    user: tuple[FrameType | None, int] = None, 0
    for frame, line in walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(ours) and "importlib" not in frame.f_code.co_filename:
            user = frame, line
    return user


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which is not the optimizer's fault: a smaller fleet may fit."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def explain_step(error: BaseException, parameters: Sequence[torch.nn.Parameter]) -> str:
    """Why the step of a torch.optim.Optimizer failed, with the shapes of the parameters that its failing function holds."""
    frame, _ = _user_frame(error)
    variables = frame.f_locals if frame else {}
    is_unusable = "NoneType" in str(error) or isinstance(error, AssertionError)
    says_so = re.search("argument: 'closure'|(requires|needs) (a )?closure", str(error))
    if says_so or (is_unusable and variables.get("closure", error) is None):
        return f"it {NEEDS_CLOSURE}{location(error)}"
    if "does not have a grad_fn" in str(error):
        return f"it needs second derivatives of the loss, and training computes none{location(error)}"
    if isinstance(error, NotImplementedError):
        return f"it has no step that moves parameters by their gradients{location(error)}"
    held = [p for p in parameters if any(p is value for value in variables.values())]
    shapes = dict.fromkeys(str(tuple(p.shape)) for p in held)
    return describe(error) + (f" at a parameter of shape {' or '.join(shapes)}" if shapes else "")


def explain_update(error: BaseException, shape: tuple[int, ...], state: Sequence[str]) -> str:
    """Why the update of a matrix optimizer failed at a parameter of this shape. state: the names that it declared."""
    for sign, meaning in VMAP_ERRORS.items():
        if sign in str(error):
            return f"{meaning}{location(error)}"
    hint = VECTORS if len(shape) == 1 else ""
    if isinstance(error, KeyError):
        hint += f"; its state has {listed(state)}"
    return f"{describe(error)} at a parameter of shape {shape}{hint}"


def check_result(name: str, result: Any, shape: Sequence[int], declared: Sequence[str]) -> None:
    """Raises BadInput unless a matrix optimizer returned a parameter of this shape and the state that it declared."""
    import torch

    if not isinstance(result, tuple | list) or len(result) != 2 or not isinstance(result[1], Mapping):
        state = f"a dictionary with {listed(declared)}" if declared else "{}"
        raise BadInput(f"{name} must return (param, state), state being {state}; it returned {_kind(result)}.")
    param, state = result
    if set(state) != set(declared):
        returned = shown(tuple(state)) if state else "{}"
        raise BadInput(f"{name} returned state {returned} but declared {shown(tuple(declared))}.")
    for what, value in {"param": param, **{f"state {key}": value for key, value in state.items()}}.items():
        now = tuple(value.shape) if isinstance(value, torch.Tensor) else _kind(value)
        if now != tuple(shape):
            hint = VECTORS if len(shape) == 1 else ""
            raise BadInput(f"{name}: {named(what)} became {now}, was {tuple(shape)}{hint}.")


def check_not_text(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raises BadInput for text where the default of an argument is a list, a number or a flag."""
    for key, value in options.items():
        if isinstance(value, str) and isinstance(defaults.get(key), tuple | list | int | float):
            default = named(overrides.typed({key: defaults[key]})[0])
            raise BadInput(f"{name}: {named(key)} = {shown(value)} is text; its default is written {default}.")


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
