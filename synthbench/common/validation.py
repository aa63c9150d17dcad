"""What a validation error says to a person: the place in the file, the value, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from synthbench.common import overrides
from synthbench.common.wording import did_you_mean, inert, named, shown

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
VERSION = r"^[0-9]{1,4}\.[0-9]{1,4}$"
LISTS = ("list_type", "tuple_type")  # errors: no list where one is needed
PATTERNS = {
    NAME: "must be 1 to 40 small letters, digits and hyphens, with no hyphen in front",
    VERSION: 'must be two numbers with a dot between them, in quotes, such as "1.0"',
}


def sentence(error: ValidationError, content: Any, origin: str, keys: Callable[[list[Any]], list[str]]) -> str:
    """What is wrong with a card, in one sentence: of several errors the deepest, for it is in the form that was meant.

    content: as it was read. origin: where from. keys: those allowed at a place in it.
    """
    # And of an unknown key and a missing one the unknown, for it may be the missing one misspelled.
    first = max(
        error.errors(),
        key=lambda e: (len(e["loc"]), _is_flat(e), not e["type"].endswith("_type"), e["type"] == "extra_forbidden"),
    )
    where = _place(content, first["loc"], first["type"] == "missing")
    path = named(".".join(map(str, where)))
    if first["type"] == "extra_forbidden":
        known = keys(where[:-1])
        return f"{origin}: unknown key '{path}'{did_you_mean(str(where[-1]), known)}."
    if first["type"] == "missing":
        return f"{origin}: {path} is missing{_misspelled(content, where)}."
    reason = PATTERNS.get(first.get("ctx", {}).get("pattern", "")) or message(first["msg"])
    if first["type"] in LISTS:
        is_of_tables = keys(where) != keys(where[:-1])
        reason = "must be a list of tables" if is_of_tables else as_list(first["input"], where, origin) or reason
    return f"{origin}: {path} = {shown(first['input'])}: {reason}." if path else f"{origin}: {reason}."


def _is_flat(error: Any) -> bool:
    """Whether a list is missing where text is that a comma divides."""
    return error["type"] in LISTS and isinstance(error["input"], str) and "," in error["input"]


def as_list(value: Any, where: list[int | str], origin: str) -> str | None:
    """That a value must be a list, and how to write it, as a setting where it comes from one; None where it cannot be
    guessed."""
    written = overrides.as_list(value)
    if written is None:
        return None
    if origin.endswith("--set"):
        written = overrides.setting([*map(str, where)], written)
    return f"must be a list: {inert(written)}"


def _misspelled(content: Any, where: list[int | str]) -> str:
    """What a missing key may have been written as, where its table allows keys of any name."""
    for part in where[:-1]:
        if isinstance(content, list):
            content = next((entry for index, entry in enumerate(content) if part in (index, _name(entry))), {})
        else:
            content = content.get(part, {})
    written = content if isinstance(content, dict) else {}
    near = difflib.get_close_matches(str(where[-1]), [str(key) for key in written if len(str(key)) <= 60], 1, 0.8)
    return f"; {shown(near[0])} may stand for it" if near else ""


def message(text: str) -> str:
    """What the validation library says, as the end of a sentence of ours."""
    text = text.removeprefix("Value error, ").replace("Input should be", "must be")
    text = text.replace("must be a valid string", "must be text, in quotes")
    text = re.sub("must be a valid (list|tuple)", "must be a list, such as [0.9, 0.95] (in a shell in quotes)", text)
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
            path.append((_name(content) or part) if isinstance(part, int) else part)
    return [*path, loc[-1]] if missing else path


def _name(table: Any) -> str | None:
    """What an entry of a list of tables is called."""
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else None
