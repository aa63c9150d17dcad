"""Small pieces of sentences: names that are near, values shown inert, lists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

MOST = 16  # names that a sentence lists


def shown(value: Any) -> str:
    """A value as text that is safe on a terminal and in a sentence: quoted, escaped, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def inert(text: str) -> str:
    """Text without characters that would steer a terminal or turn the reading direction: these are shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(names: Iterable[str]) -> str:
    """`a, b, c`, or `nothing`."""
    return ", ".join(names) or "nothing"


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'? Allowed are a, b, x` as far as it helps."""
    allowed = list(allowed)
    near = difflib.get_close_matches(given, allowed, n=1)
    names = listed(allowed[:MOST]) + (f" and {len(allowed) - MOST} more" if len(allowed) > MOST else "")
    return f"; did you mean {near[0]!r}? Allowed are {names}" if near else f"; allowed are {names}"
