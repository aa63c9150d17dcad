"""Small pieces of sentences: names that are near, values shown inert, lists."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any
from unicodedata import bidirectional

from synthbench.common.errors import BadInput

MOST = 16  # names that a sentence lists
MARKS = re.compile(r"[\\`*_\[\]#|~$>]")  # what Markdown may read as more than text
RIGHT_TO_LEFT = ("R", "AL", "AN")  # as Unicode calls them: the numbers beside such letters change places


def shown(value: Any) -> str:
    """A value as text that is safe on a terminal and in a sentence: quoted, escaped, at most 60 characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in lists in lists
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def is_text(text: str) -> bool:
    """Whether text can be written: bytes of a command line that are no UTF-8 come as characters that cannot."""
    return not re.search("[\ud800-\udfff]", text)


def inert(text: str) -> str:
    """Text as one line that neither steers a terminal nor turns the reading direction: what would is shown escaped."""
    steers = {c for c in text if not c.isprintable() or bidirectional(c) in RIGHT_TO_LEFT}
    return "".join(c.encode("unicode_escape").decode() if c in steers else c for c in text)


def prose(text: str) -> str:
    """A card's sentences as one inert line, for their own line breaks mean nothing."""
    return inert(" ".join(text.split()))


def short(text: str, most: int) -> str:
    """At most so many characters: of a longer text the beginning and the end, for both tell names apart."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[len(text) - half :]}"


def named(text: object) -> str:
    """A name or a path inside a sentence."""
    return short(inert(str(text)), 160)


def literal(text: str) -> str:
    """Text that a Markdown page shows as it is: no markup, no HTML, no end of a table's cell."""
    escaped = MARKS.sub(r"\\\g<0>", inert(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def delimited(value: Any) -> Any:
    """A value for a CSV file: text inert, and none that a spreadsheet takes for a formula; numbers as they are."""
    if not isinstance(value, str):
        return value
    is_formula = value.lstrip()[:1] in ("=", "+", "-", "@") or value[:1] in ("\t", "\r", "\n")
    return "'" * is_formula + inert(value)


def code(text: str) -> str:
    """Text between as many backticks as it takes, for a Markdown page."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{inert(text)}{space}{fence}"


def call(function: str, *positional: Any, **keywords: Any) -> str:
    """A call of a public function as it can be typed again; arguments that are None are left out."""
    words = [*map(repr, positional), *(f"{name}={value!r}" for name, value in keywords.items() if value is not None)]
    return f"synthbench.{function}({', '.join(words)})"


def listed(names: Iterable[str]) -> str:
    """`a, b, c`, or `nothing`."""
    names = list(names)
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(named(name) for name in names[:MOST]) + more or "nothing"


def did_you_mean(value: Any, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'? Allowed are a, b, x` as far as it helps."""
    allowed = list(allowed)
    likely = [candidate for candidate in allowed if len(candidate) <= 60]  # comparing takes the product of the lengths
    near = difflib.get_close_matches(value if isinstance(value, str) else shown(value), likely, n=1)
    names = listed(allowed)
    return f"; did you mean {shown(near[0])}? Allowed are {names}" if near else f"; allowed are {names}"


def known(where: str, kind: str, name: str, allowed: Iterable[str]) -> None:
    """Raises BadInput that begins with `where` and the kind of name, unless the name is allowed."""
    allowed = list(allowed)
    if name not in allowed:
        raise BadInput(f"{where}: unknown {kind} {shown(name)}{did_you_mean(name, allowed)}.")


def check_choice(where: str, value: Any, allowed: Iterable[str]) -> None:
    """Raises BadInput that begins with `where` and the value, unless it is allowed."""
    allowed = list(allowed)
    if value not in allowed:
        raise BadInput(f"{where} {shown(value)} is not allowed{did_you_mean(value, allowed)}.")
