"""What a class computes, as a hash: of its code and of what that refers to in its module. For classes without a file.

The code is that which runs, instruction by instruction: a notebook's source may have been edited since.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, type(None))  # values whose text is what they are

# of a code object: takes *args or **kwargs, is a generator or a coroutine
FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE

# attributes of a class that nobody wrote
MADE = ("__dict__", "__weakref__", "__doc__", "__module__", "__static_attributes__", "__firstlineno__")

Seen = dict[int, tuple[int, Any]]


def digest(thing: Any) -> str:
    """sha256 of the code of a class, a function or what holds functions, with the functions, classes and plain values of
    the same module that it refers to, in turn. The same in every process; comments and docstrings change nothing."""
    state, seen = sha256(), Seen()
    for text in _told(thing, seen):
        state.update(text.encode() + b"\0")
    return state.hexdigest()


def _told(thing: Any, seen: Seen) -> Iterator[str]:
    """seen: by id what has been told and which place that had. It keeps things alive: an id is free again when they end."""
    if isinstance(thing, PLAIN):
        yield repr(thing)
        return
    if id(thing) in seen:
        yield f"as {seen[id(thing)][0]}"
        return
    seen[id(thing)] = len(seen), thing
    if isinstance(thing, tuple | list):
        for one in thing:
            yield from _told(one, seen)
    elif isinstance(thing, dict):
        for key in sorted(thing, key=repr):
            yield repr(key)
            yield from _told(thing[key], seen)
    elif isinstance(thing, staticmethod | classmethod | property):
        yield type(thing).__name__
        functions = (thing.fget, thing.fset, thing.fdel) if isinstance(thing, property) else (thing.__func__,)
        yield from _told(functions, seen)
    elif isinstance(thing, FunctionType):
        yield from _of_function(_as_written(thing), seen)
    elif isinstance(thing, type):
        yield f"{thing.__module__}.{thing.__qualname__}"
        yield from _of_class(thing, seen)
    elif hasattr(thing, "__wrapped__"):
        yield from _told(thing.__wrapped__, seen)
    elif hasattr(thing, "written"):  # an optimizer: its functions, and what it was given
        own = (
            thing.implementation.start,
            thing.implementation.step,
            thing.lr,
            thing.routing,
            dict(thing.arguments),
            thing.kept,
        )
        yield from _told(own, seen)


def _as_written(thing: FunctionType) -> Any:
    """A function without what torch wraps a `step` in when the first instance of its class is made."""
    return thing.__wrapped__ if getattr(thing, "hooked", False) else thing  # type: ignore[attr-defined]


def _is_inherited(of: type, name: str, value: Any) -> bool:
    """Whether an attribute of a class is that of a base, put there when torch wrapped it."""
    if not getattr(value, "hooked", False):
        return False
    return any(
        inspect.unwrap(vars(base)[name]) is inspect.unwrap(value) for base in of.__mro__[1:] if name in vars(base)
    )


def _of_class(thing: type, seen: Seen) -> Iterator[str]:
    """Its own attributes, and those of its bases in the same module."""
    for base in thing.__mro__:
        if base.__module__ == thing.__module__:
            for name, value in sorted(vars(base).items()):
                if name not in MADE and not _is_inherited(base, name, value):
                    yield name
                    yield from _told(value, seen)


def _of_function(thing: FunctionType, seen: Seen) -> Iterator[str]:
    yield from _of_code(thing.__code__)
    yield from _told((thing.__defaults__, thing.__kwdefaults__), seen)
    if hasattr(thing, "__wrapped__"):
        yield from _told(thing.__wrapped__, seen)
    for cell in thing.__closure__ or ():
        yield from _told(cell.cell_contents, seen)
    for name in sorted(_names(thing.__code__)):
        value = thing.__globals__.get(name)
        if isinstance(value, PLAIN) or getattr(value, "__module__", None) == thing.__module__:
            yield name
            yield from _told(value, seen)


def _of_code(code: CodeType) -> Iterator[str]:
    """Its instructions with what they use, by value: a function's docstring is used by none."""
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    yield repr((arguments, code.co_flags & FLAGS, code.co_exceptiontable))
    for instruction in dis.get_instructions(code):
        used = instruction.argval
        yield instruction.opname
        if isinstance(used, CodeType):
            yield from _of_code(used)
        else:
            yield repr(sorted(used, key=repr)) if isinstance(used, frozenset) else repr(used)


def _names(code: CodeType) -> set[str]:
    """Global names that code refers to, that inside it as well."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names, inner))
