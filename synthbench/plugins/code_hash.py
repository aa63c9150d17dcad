"""The code of a class without a file, such as one in a notebook, as a hash: of it and what it refers to in its module.

The code is the one that runs, instruction by instruction: a notebook's source may have been edited since.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, type(None))  # hashed by their text

# of a code object: takes *args or **kwargs, is a generator or a coroutine
FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE

# attributes of a class that nobody wrote
MADE = ("__dict__", "__weakref__", "__doc__", "__module__", "__static_attributes__", "__firstlineno__")

Seen = dict[int, tuple[int, Any]]


def digest(thing: Any) -> str:
    """sha256 of the code of a class, a function or an optimizer, the same in every process.

    It includes the functions, classes and plain values of the same module that the code refers to, in turn. Comments and
    docstrings do not change it.
    """
    state, seen = sha256(), Seen()
    for text in _texts(thing, seen):
        state.update(text.encode() + b"\0")
    return state.hexdigest()


def _texts(thing: Any, seen: Seen) -> Iterator[str]:
    """seen: by id the position and the object. It keeps objects alive, so that no id is used twice."""
    if isinstance(thing, PLAIN):
        yield repr(thing)
        return
    if id(thing) in seen:
        yield f"as {seen[id(thing)][0]}"
        return
    seen[id(thing)] = len(seen), thing
    if isinstance(thing, tuple | list):
        for item in thing:
            yield from _texts(item, seen)
    elif isinstance(thing, dict):
        for key in sorted(thing, key=repr):
            yield repr(key)
            yield from _texts(thing[key], seen)
    elif isinstance(thing, staticmethod | classmethod | property):
        yield type(thing).__name__
        functions = (thing.fget, thing.fset, thing.fdel) if isinstance(thing, property) else (thing.__func__,)
        yield from _texts(functions, seen)
    elif isinstance(thing, FunctionType):
        yield from _of_function(_as_written(thing), seen)
    elif isinstance(thing, type):
        yield f"{thing.__module__}.{thing.__qualname__}"
        yield from _of_class(thing, seen)
    elif hasattr(thing, "__wrapped__"):
        yield from _texts(thing.__wrapped__, seen)
    elif hasattr(thing, "written"):  # a CustomOptimizer
        made = thing.implementation
        yield from _texts((made.start, made.step, thing.lr, thing.routing, dict(thing.arguments), thing.kept), seen)


def _as_written(thing: FunctionType) -> Any:
    """A function without the wrapper that torch gives a `step` when the first instance of its class is made."""
    return thing.__wrapped__ if getattr(thing, "hooked", False) else thing  # type: ignore[attr-defined]


def _is_inherited(cls: type, name: str, value: Any) -> bool:
    """Whether torch put an attribute of a base into a class when it wrapped it."""
    if not getattr(value, "hooked", False):
        return False
    return any(
        inspect.unwrap(vars(base)[name]) is inspect.unwrap(value) for base in cls.__mro__[1:] if name in vars(base)
    )


def _of_class(thing: type, seen: Seen) -> Iterator[str]:
    """The attributes of a class, and of its bases in the same module."""
    for base in thing.__mro__:
        if base.__module__ == thing.__module__:
            for name, value in sorted(vars(base).items()):
                if name not in MADE and not _is_inherited(base, name, value):
                    yield name
                    yield from _texts(value, seen)


def _of_function(thing: FunctionType, seen: Seen) -> Iterator[str]:
    yield from _of_code(thing.__code__)
    yield from _texts((thing.__defaults__, thing.__kwdefaults__), seen)
    if hasattr(thing, "__wrapped__"):
        yield from _texts(thing.__wrapped__, seen)
    for cell in thing.__closure__ or ():
        yield from _texts(cell.cell_contents, seen)
    for name in sorted(_names(thing.__code__)):
        value = thing.__globals__.get(name)
        if isinstance(value, PLAIN) or getattr(value, "__module__", None) == thing.__module__:
            yield name
            yield from _texts(value, seen)


def _of_code(code: CodeType) -> Iterator[str]:
    """Instructions with what they use, by value: none uses a function's docstring."""
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
    """Global names that code refers to, with those of code inside it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))
