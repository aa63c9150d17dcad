"""What a validation error says to a person: the place in the file, the value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from synthbench.wording import did_you_mean, named, shown


def sentence(error: ValidationError, content: Any, origin: str, keys: Callable[[list[Any]], list[str]]) -> str:
    """What is wrong with a card, in one sentence: of several errors the deepest, for it is in the form that was meant.

    content: as it was read. origin: where from. keys: those allowed at a place in it.
    """
    first = max(error.errors(), key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
    where = _place(content, first["loc"], first["type"] == "missing")
    path = named(".".join(map(str, where)))
    if first["type"] == "extra_forbidden":
        known = keys(where[:-1])
        return f"{origin}: unknown key '{path}'{did_you_mean(str(where[-1]), known)}."
    if first["type"] == "missing":
        return f"{origin}: {path} is missing."
    if not path:
        return f"{origin}: {message(first['msg'])}."
    return f"{origin}: {path} = {shown(first['input'])}: {message(first['msg'])}."


def message(text: str) -> str:
    """What the validation library says, as the end of a sentence of ours."""
    text = text.removeprefix("Value error, ").replace("Input should be", "must be")
    text = re.sub("^(List|Dictionary|String) should have", "must have", text).replace(" after validation, not 0", "")
    return text[:1].lower() + text[1:]


def _place(content: Any, loc: tuple[int | str, ...], missing: bool) -> list[int | str]:
    """The path that a person wrote: without the branches of unions, entries of a list of tables by their names."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(content, list):
            inside = isinstance(part, int) and part < len(content)
        else:
            inside = isinstance(content, dict) and part in content
        if inside:
            content = content[part]
            named = isinstance(part, int) and isinstance(content, dict) and isinstance(content.get("name"), str)
            path.append(content["name"] if named else part)
    return [*path, loc[-1]] if missing else path
