"""Values of options that are lists: words, numbers, seeds."""

from __future__ import annotations

import re

from synthbench.common.errors import BadInput
from synthbench.common.wording import shown

WIDEST = 10_000  # seeds of a range


def words(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise BadInput(f"{option} {shown(text)} has an empty entry; give names separated by commas.")
    return found


def numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(_ascii(word)) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"{option} {shown(text)} must be numbers separated by commas, such as 1e-3,3e-3.") from None


def seeds(text: str | None) -> int | list[int] | None:
    """A count, or seeds and ranges of them separated by commas."""
    if text is None:
        return None
    listed: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,19})(?:-([0-9]{1,19}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not 0 <= last - first < WIDEST:
            raise BadInput(f"--seeds {shown(text)} must be a count, or seeds such as 0,4,7 or 100-131.")
        listed += range(first, last + 1)
    return listed if set(text) & set(",-") else listed[0]


def _ascii(number: str) -> str:
    """The number; raises ValueError for what only Python reads as one: `1_0`, or digits of other scripts."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number
