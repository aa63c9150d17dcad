"""What a person's optimizer raised or returned, in words: what is meant, where in their file, of which shape.

Only sentences: nothing here changes a number, and plug-ins' runs do not depend on this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, named, short, shown

if TYPE_CHECKING:
    from types import FrameType

    import torch

CLOSURE = "needs a closure; losses of many runs are computed together, so none can be given"
MEANT = {  # what torch.vmap says, and what it means for an optimizer of one matrix
    "data-dependent control flow": "an optimizer may not branch on values; use torch.where",
    "calling .item()": "an optimizer may not turn values into Python numbers (item, float, int); keep them tensors",
    "randomness error mode": "an optimizer may not draw random numbers",
    "dynamic shape": "an optimizer may not choose entries by a mask; use torch.where",
    "Cannot access data pointer": "an optimizer may compute by torch alone, without numpy",
}
VECTORS = '; vectors come too, unless routing="hidden"'


def refusal(error: BaseException) -> str:
    """What a person's code raised."""
    return named(short(f"{type(error).__name__}: {error}".strip().rstrip("."), 200))


def is_of_memory(error: BaseException) -> bool:
    """Whether there was no memory: nobody's mistake, and a smaller fleet may do."""
    return isinstance(error, MemoryError) or "alloc" in str(error).lower()


def of_step(error: Exception, parameters: Sequence[torch.nn.Parameter]) -> str:
    """Why a class's step failed. The shapes are those of parameters that its failing function holds, or of all."""
    own = own_frame(error)
    held = own[0].f_locals if own else {}
    if held.get("closure", error) is None and ("NoneType" in str(error) or isinstance(error, AssertionError)):
        return f"it {CLOSURE}{place(error)}"
    found = [one for one in parameters if any(one is value for value in held.values())] or parameters
    shapes = dict.fromkeys(str(tuple(one.shape)) for one in found)
    which = "its parameter has" if len(found) == 1 else "its parameters have"
    return f"{refusal(error)}{place(error)}; {which} the shape {' or '.join(shapes)}"


def of_update(error: Exception, shape: tuple[int, ...], state: Sequence[str]) -> str:
    """Why an optimizer for one matrix failed at a parameter of this shape. state: the names that it declared."""
    for sign, meant in MEANT.items():
        if sign in str(error):
            return f"{meant}{place(error)}"
    more = VECTORS if len(shape) == 1 else ""
    if isinstance(error, KeyError):
        more += f"; its state has {listed(state)}"
    return f"{refusal(error)}{place(error)} at a parameter of shape {shape}{more}"


def place(error: BaseException) -> str:
    """` (mine.py, line 12)`: the last line of a person's own code that the error passed; nothing where there is none."""
    own = own_frame(error)
    return f" ({named(Path(own[0].f_code.co_filename).name)}, line {own[1]})" if own else ""


def own_frame(error: BaseException) -> tuple[FrameType, int] | None:
    """The last frame, with its line, outside of torch and of this package."""
    import torch

    folders = Path(torch.__file__).parent, Path(__file__).parents[1]
    frames = [(frame, line) for frame, line in walk_tb(error.__traceback__)
              if not any(folder in Path(frame.f_code.co_filename).parents for folder in folders)]  # fmt: skip
    return frames[-1] if frames else None


def check_returned(name: str, found: Any, shape: Sequence[int], declared: Sequence[str]) -> None:
    """Raises BadInput where an optimizer for one matrix did not return a parameter of this shape, and the state it declared."""
    if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[1], Mapping):
        state = f"a dictionary with {listed(declared)}" if declared else "{}"
        raise BadInput(f"{name} must return (param, state), state being {state}; it returned {_kind(found)}.")
    param, state = found
    if set(state) != set(declared):
        given = shown(tuple(state)) if state else "{}"
        raise BadInput(f"{name} returned state {given} but declared {shown(tuple(declared))}.")
    for what, value in {"param": param, **{f"state {key}": value for key, value in state.items()}}.items():
        now = tuple(value.shape) if _is_tensor(value) else _kind(value)
        if now != tuple(shape):
            more = VECTORS if len(shape) == 1 else ""
            raise BadInput(f"{name}: {named(what)} became {now}, was {tuple(shape)}{more}.")


def check_no_text(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raises BadInput where text stands for an argument whose default is a list, a number or a flag."""
    for key, value in given.items():
        default = defaults.get(key)
        if not isinstance(value, str) or not isinstance(default, tuple | list | int | float):
            continue
        if isinstance(default, bool):
            kind = "true or false is written so, in small letters"
        elif isinstance(default, int | float):
            kind = f"a number is written like {default:g}"
        else:
            kind = f"a list is written {shown(list(default)).replace(' ', '')}"
        raise BadInput(f"{name}: {named(key)} = {shown(value)} is text; {kind}.")


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
