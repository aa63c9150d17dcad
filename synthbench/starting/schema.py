"""`synthbench schema`: what a card may hold, as JSON Schema, which editors complete and check TOML by.

A card names it in its first line: `#:schema PATH`, relative to the card's own folder.
"""

from __future__ import annotations

import ast
import inspect
import json
from functools import cache
from types import ModuleType
from typing import Any

from synthbench.cards import Card, RunnerCard, TaskCard, model, runner, task
from synthbench.errors import BadInput
from synthbench.generators import GENERATORS
from synthbench.trainer.rules import OPTIMIZERS
from synthbench.wording import did_you_mean, shown

KINDS: dict[str, type[Card]] = {"task": TaskCard, "runner": RunnerCard}
DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that the TOML tools of editors read
NOTED = {"SliceCard": ["code"], "TaskCard": ["variant"]}  # fields that the program fills in, and no person

Schema = dict[str, Any]


def text(kind: str) -> str:
    """The schema of `task` or `runner` cards; raises BadInput for another kind."""
    if kind not in KINDS:
        raise BadInput(f"Unknown kind of cards {shown(kind)}{did_you_mean(kind, KINDS)}.")
    return json.dumps(schema(kind), indent=1, ensure_ascii=False)


def schema(kind: str) -> Schema:
    card = KINDS[kind]
    found = card.model_json_schema()
    for name, table in {**found["$defs"], card.__name__: found}.items():
        for field, meaning in _meanings().get(name, {}).items():
            table["properties"][field]["description"] = meaning
        for field in NOTED.get(name, []):
            del table["properties"][field]
    if kind == "task":
        found["$defs"]["SliceCard"] = _slices(found["$defs"]["SliceCard"])
    else:
        own = {name: one.arguments.model_json_schema() for name, one in OPTIMIZERS.items()}
        found["properties"]["arguments"]["properties"] = own
    _close(found)
    return {"$schema": DIALECT} | found


def _slices(table: Schema) -> Schema:
    """A slice, by its generator: a built-in one has the options that it has, another one any."""
    found = []
    for name, generator in GENERATORS.items():
        options = generator.options.model_json_schema()
        named = {"generator": {"const": name, "description": generator.summary}}
        properties = table["properties"] | named | options["properties"]
        required = [*table["required"], *options["required"]]
        found.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    other = table["properties"]["generator"] | {"not": {"enum": list(GENERATORS)}}
    found.append(table | {"properties": table["properties"] | {"generator": other}, "required": table["required"]})
    return {"description": table["description"], "oneOf": found}


def _close(node: Any) -> None:
    """Where keys have a pattern, others are refused."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)


@cache
def _meanings() -> dict[str, dict[str, str]]:
    """What stands below the fields of cards, by card and key."""
    return {name: found for module in (model, runner, task) for name, found in _below(module).items()}


def _below(module: ModuleType) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for table in ast.parse(inspect.getsource(module)).body:
        if not isinstance(table, ast.ClassDef):
            continue
        fields = getattr(module, table.name).model_fields
        for field, below in zip(table.body, table.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                name = ast.unparse(field.target)
                meaning = " ".join(str(ast.literal_eval(below.value)).split())
                found.setdefault(table.name, {})[fields[name].alias or name] = meaning
    return found
