"""`--set path=value`: values as TOML or plain text, put at a path of a card that was read but not yet checked."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from synthbench.common import files
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, is_text, listed, shown

MOST_PARTS = 8  # of a path
MOST_GUESSED = 160  # characters of a value that a sentence writes in another form
PART = r'(?:"[^"]*"|[^".=]+)'  # a name with dots or an equals sign in it stands in quotes
PATH = re.compile(rf"\s*({PART}(?:\.{PART})*)\s*=(.*)", re.DOTALL)


def parse(setting: str) -> tuple[list[str], Any]:
    """`a."b.c"=1` as (["a", "b.c"], 1); raises BadInput where there is no path or no value, or no text."""
    if not is_text(setting):
        raise BadInput(f"--set {shown(setting)} is not UTF-8 text.")
    match = PATH.fullmatch(setting)
    parts = [part.strip().strip('"') for part in re.findall(PART, match[1])] if match else []
    if not match or not all(parts):
        raise BadInput(f"--set {shown(setting)} must have the form path=value, such as stages.finetune.steps=400.")
    return parts, value(match[2].strip())


def path(text: str, where: str) -> list[str]:
    """`a."b.c"` as ["a", "b.c"]; raises BadInput that begins with `where` for what is no path."""
    if not is_text(text) or not re.fullmatch(rf"\s*{PART}(?:\.{PART})*\s*", text):
        raise BadInput(f"{where} {shown(text)} must be a path, such as stages.finetune.steps.")
    return [part.strip().strip('"') for part in re.findall(PART, text)]


def value(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        return files.parse(f"value = {text}")["value"] if "\n" not in text else text
    except ValueError:
        return text


def as_list(value: Any) -> str | None:
    """The TOML list that text or a number may have been meant as: `0.9,0.95` as `[0.9, 0.95]`, `a` as `["a"]`; None for
    what cannot be guessed."""
    is_number = isinstance(value, int | float) and abs(value) < 2**63
    text = json.dumps(value) if is_number else value
    if not isinstance(text, str) or len(text) > MOST_GUESSED:
        return None
    words = text.strip("[] ")
    parts = [part.strip(" '\"") for part in (words.split(",") if "," in words else words.split())]
    return f"[{', '.join(json.dumps(part) if _is_word(part) else part for part in parts if part)}]"


def _is_word(part: str) -> bool:
    return not isinstance(value(part), int | float)


def setting(path: Sequence[str], new: str) -> str:
    """`--set` with a value in TOML at a path, quoted for a shell."""
    where = ".".join(f'"{part}"' if re.search("[.=]", part) else part for part in path)
    return f"--set {shlex.quote(f'{where}={new}')}"


def typed(settings: Mapping[str, Any] | None) -> list[str]:
    """Values of Python by path as `--set` reads them, `path=value`: text as it is, all else as TOML."""
    return [f"{path}={new if isinstance(new, str) else _toml(new)}" for path, new in (settings or {}).items()]


def _toml(new: Any) -> str:
    if isinstance(new, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(inner)}" for key, inner in new.items()) + "}"
    if isinstance(new, list | tuple):
        return f"[{', '.join(map(_toml, new))}]"
    return json.dumps(new, default=str)


def put(content: dict[str, Any], path: Sequence[str], new: Any, origin: str) -> None:
    """Sets a value in a card's content; entries of a list of tables are named by their `name`."""
    *parents, last = path
    if len(path) > MOST_PARTS:
        raise BadInput(f"{origin}: {shown('.'.join(path))} is too long a path; at most {MOST_PARTS} parts are allowed.")
    node: Any = content
    for depth, part in enumerate(parents):
        node = _enter(node, part, ".".join(path[: depth + 1]), origin)
    if not isinstance(node, dict):
        raise BadInput(f"{origin}: {shown('.'.join(path))} cannot be set; {shown('.'.join(parents))} is not a table.")
    node[last] = new


def _enter(node: Any, part: str, path: str, origin: str) -> Any:
    if isinstance(node, dict):
        if not isinstance(node.get(part, {}), (dict, list)):
            raise BadInput(f"{origin}: {shown(path)} is a value, not a table.")
        return node.setdefault(part, {})
    tables = {entry["name"]: entry for entry in node if isinstance(entry, dict) and isinstance(entry.get("name"), str)}
    if part not in tables:
        held = (entry if isinstance(entry, str) else shown(entry) for entry in node)
        hint = did_you_mean(part, tables) if tables else f"; it holds {listed(held)}"
        raise BadInput(f"{origin}: there is no {shown(path)}{hint}.")
    return tables[part]
