"""`synthbench schema`: the JSON Schema of cards, by which editors complete and check TOML.

A card names it in its first line: `#:schema PATH`, relative to the card's own folder.
"""

from __future__ import annotations

import json
from typing import Any

from synthbench.cards import Card, RunnerCard, TaskCard
from synthbench.common.wording import check_choice
from synthbench.generators import GENERATORS
from synthbench.trainer.optimizers import OPTIMIZERS

KINDS: dict[str, type[Card]] = {"task": TaskCard, "runner": RunnerCard}
DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that the TOML tools of editors read
NOTED = {"SliceCard": ["code"], "TaskCard": ["variant"]}  # fields that the program fills in

Schema = dict[str, Any]


def text(kind: str) -> str:
    """The schema of `task` or `runner` cards; raises BadInput for another kind."""
    check_choice("Kind of cards", kind, KINDS)
    return json.dumps(schema(kind), indent=1, ensure_ascii=False)


def schema(kind: str) -> Schema:
    card = KINDS[kind]
    root = card.model_json_schema()
    for name, table in {**root["$defs"], card.__name__: root}.items():
        for field in NOTED.get(name, []):
            del table["properties"][field]
    if kind == "task":
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
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)
