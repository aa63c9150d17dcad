"""Remembering what a function returned, of its last calls, where it returns the same for the same key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

Args = ParamSpec("Args")
Value = TypeVar("Value")


def remembered(key: Callable[..., Hashable], last: int) -> Callable[[Callable[Args, Value]], Callable[Args, Value]]:
    """A decorator for a function whose value depends on this key of its arguments alone, and which nobody changes.

    last: values that are kept in a process. A program that remembers computes what it did before, so the hash of its code
    (`sources.py`) is the same: what the key leaves out must not matter.
    """

    def decorate(function: Callable[Args, Value]) -> Callable[Args, Value]:
        known: OrderedDict[Hashable, Value] = OrderedDict()

        @wraps(function)
        def call(*args: Args.args, **kwargs: Args.kwargs) -> Value:
            asked = key(*args, **kwargs)
            if asked not in known:
                known[asked] = function(*args, **kwargs)
                if len(known) > last:
                    known.popitem(last=False)
            known.move_to_end(asked)
            return known[asked]

        return call

    return decorate
