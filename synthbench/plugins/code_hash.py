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


def digest(value: Any) -> str:
    """sha256 of the code of a class, a function or an optimizer, the same in every process.

    It includes the functions, classes and plain values of the same module that the code refers to, in turn. Comments and
    docstrings do not change it.
    """
    state, seen = sha256(), Seen()
    for text in _texts(value, seen):
        state.update(text.encode() + b"\0")
    return state.hexdigest()


def _texts(value: Any, seen: Seen) -> Iterator[str]:
    """seen: by id the position and the object. It keeps objects alive, so that no id is used twice."""
    if isinstance(value, PLAIN):
        yield repr(value)
        return
    if id(value) in seen:
        yield f"as {seen[id(value)][0]}"
        return
    seen[id(value)] = len(seen), value
    if isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item, seen)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield repr(key)
            yield from _texts(value[key], seen)
    elif isinstance(value, staticmethod | classmethod | property):
        yield type(value).__name__
        functions = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value.__func__,)
        yield from _texts(functions, seen)
    elif isinstance(value, FunctionType):
        # torch wraps a `step` when the first instance of its class is made
        is_wrapped = getattr(value, "hooked", False)
        yield from _of_function(value.__wrapped__ if is_wrapped else value, seen)  # type: ignore[attr-defined]
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        yield from _of_class(value, seen)
    elif hasattr(value, "__wrapped__"):
        yield from _texts(value.__wrapped__, seen)
    elif hasattr(value, "written"):  # a CustomOptimizer
        code = value.implementation
        yield from _texts((code.start, code.step, value.lr, value.routing, dict(value.arguments), value.kept), seen)


def _of_class(cls: type, seen: Seen) -> Iterator[str]:
    """The attributes of a class, and of its bases in the same module."""
    for base in cls.__mro__:
        for name, value in sorted(vars(base).items()) if base.__module__ == cls.__module__ else ():
            if name not in MADE and not _is_inherited(base, name, value):
                yield name
                yield from _texts(value, seen)


def _is_inherited(cls: type, name: str, value: Any) -> bool:
    """Whether torch put an attribute of a base into a class when it wrapped it."""
    if not getattr(value, "hooked", False):
        return False
    return any(inspect.unwrap(getattr(base, name, None)) is inspect.unwrap(value) for base in cls.__mro__[1:])  # type: ignore[arg-type]


def _of_function(function: FunctionType, seen: Seen) -> Iterator[str]:
    yield from _of_code(function.__code__)
    yield from _texts((function.__defaults__, function.__kwdefaults__), seen)
    if hasattr(function, "__wrapped__"):
        yield from _texts(function.__wrapped__, seen)
    for cell in function.__closure__ or ():
        yield from _texts(cell.cell_contents, seen)
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, PLAIN) or getattr(value, "__module__", None) == function.__module__:
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
