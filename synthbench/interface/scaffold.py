"""Where own cards and code start: `synthbench new` writes commented files that work as they are, `synthbench schema` prints
the JSON Schema by which editors complete and check cards.

A card names its schema in its first line: `#:schema PATH`, relative to the card's own folder.
"""

from __future__ import annotations

import keyword
import os
import re
import shlex
from pathlib import Path
from typing import Any

from synthbench import cards
from synthbench.cards import Card, RunnerCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.common.files import write_whole
from synthbench.common.validation import NAME
from synthbench.common.wording import check_choice, inert, named, shown
from synthbench.generators import GENERATORS
from synthbench.trainer.optimizers import OPTIMIZERS

CARDS: dict[str, type[Card]] = {"task": TaskCard, "runner": RunnerCard}
TEMPLATES = Path(__file__).with_name("templates")
NEXT = {  # what to type next, by kind
    "task": ("synthbench verify --task {toml}", "synthbench run --task {toml}"),
    "runner": ("synthbench run {toml} --dry-run", "synthbench run {toml}"),
    "optimizer": ("synthbench verify --optimizer {py}", "synthbench run --optimizer {py}"),
    "generator": ("synthbench verify --task {toml}", "synthbench run --task {toml}"),
}
SCHEMAS = Path(cards.__file__).with_name("schemas")
DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that the TOML tools of editors read

Schema = dict[str, Any]


def write(kind: str, name: str, out: Path) -> list[str]:
    """Writes the starting files of a kind into a folder; returns lines that say what they are, and what to type next.

    Raises BadInput for a kind or a name that is not allowed, and where a file is there already.
    """
    check_choice("Kind", kind, NEXT)
    valid = _card_name(kind, name) if kind in CARDS else _code_name(kind, name)
    templates = {out / f"{valid}{file.suffix}": file for file in sorted(TEMPLATES.glob(f"{kind}.*"))}
    for path in templates:
        if path.exists():
            raise BadInput(f"{named(path)} exists already, and nothing is overwritten; give another name or --out.")
    out.mkdir(parents=True, exist_ok=True)
    for path, template in templates.items():
        text = _filled(template.read_text(encoding="utf-8"), kind, valid, out)
        write_whole(path, text.encode(), exclusive=True)
    lines = [f"The name is {valid}: {shown(name)} has characters that are not allowed."] if valid != name else []
    lines += [f"Written: {named(path)}" for path in templates]
    paths = {"toml": _typed(out / f"{valid}.toml"), "py": _typed(f"{out / valid}.py:{valid}")}
    return lines + [f"Next: {command.format(**paths)}" for command in NEXT[kind]]


def _card_name(kind: str, name: str) -> str:
    """A name that a card can have, underscores made hyphens."""
    valid = name.replace("_", "-")
    if not re.fullmatch(NAME, valid):
        raise BadInput(f"{kind} {shown(name)}: give a name of at most 40 lower-case letters, digits and hyphens.")
    if valid in cards.names(CARDS[kind]):
        raise BadInput(f"{kind} {shown(name)} is the name of a shipped {kind}; give another name.")
    return valid


def _code_name(kind: str, name: str) -> str:
    """A name that Python code can have, hyphens made underscores."""
    valid = name.replace("-", "_")
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", valid) or keyword.iskeyword(valid):
        raise BadInput(
            f"{kind} {shown(name)}: give a name of at most 40 lower-case letters, digits and underscores; it begins with "
            "a letter and is no keyword of Python."
        )
    return valid


def _filled(template: str, kind: str, name: str, out: Path) -> str:
    """A template under a name; the line that names the schema of a card leads from its folder to the installed one."""
    text = template.replace(f"my_{kind}", name).replace(f"my-{kind}", name.replace("_", "-"))
    folder = Path(os.path.relpath(SCHEMAS, out)).as_posix()
    return re.sub(r"\A#:schema .*/", lambda _: f"#:schema {folder}/", text)


def _typed(path: object) -> str:
    """A path as it is typed in a shell."""
    return inert(shlex.quote(str(path)))


def schema(kind: str) -> Schema:
    """The schema of `task` or `runner` cards; raises BadInput for another kind."""
    check_choice("Kind of cards", kind, CARDS)
    card = CARDS[kind]
    root = card.model_json_schema()
    if kind == "task":
        del root["properties"]["variant"]  # the program fills it in
        root["$defs"]["SliceCard"] = _slices(root["$defs"]["SliceCard"])
    else:
        arguments = {name: optimizer.arguments.model_json_schema() for name, optimizer in OPTIMIZERS.items()}
        root["properties"]["arguments"]["properties"] = arguments
    _close(root)
    return {"$schema": DIALECT} | root


def _slices(table: Schema) -> Schema:
    """A slice, by its generator: a built-in one has its own options, another one any."""
    slices = []
    for name, generator in GENERATORS.items():
        options = generator.options.model_json_schema()
        named = {"generator": {"const": name, "description": generator.summary}}
        properties = table["properties"] | named | options["properties"]
        required = [*table["required"], *options["required"]]
        slices.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    other = table["properties"]["generator"] | {"not": {"enum": list(GENERATORS)}}
    slices.append(table | {"properties": table["properties"] | {"generator": other}, "required": table["required"]})
    return {"description": table["description"], "oneOf": slices}


def _close(node: Any) -> None:
    """Where keys have a pattern, others are refused; lists of a fixed length are written in the dialect; descriptions are
    single lines."""
    if isinstance(node, dict):
        if "prefixItems" in node:
            node |= {"items": node.pop("prefixItems"), "additionalItems": False}
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        if isinstance(node.get("description"), str):
            node["description"] = " ".join(node["description"].split())
        if isinstance(node.get("title"), str):
            del node["title"]  # pydantic's own: the key again
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)
