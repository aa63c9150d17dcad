"""`synthbench schema`: what a card may hold, as JSON Schema, which editors complete and check TOML by.

A card names it in its first line: `#:schema PATH`, relative to the card's own folder.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from synthbench.cards import Card, RunnerCard, TaskCard, model, runner, task
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.generators import GENERATORS
from synthbench.interface.scaffold.meanings import meanings
from synthbench.trainer.optimizers import OPTIMIZERS

KINDS: dict[str, type[Card]] = {"task": TaskCard, "runner": RunnerCard}
DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that the TOML tools of editors read
CARDS = {name: one for module in (model, runner, task) for name, one in vars(module).items() if isinstance(one, type)}
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
        if name in CARDS:
            _explain(table, CARDS[name])
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
        options = _explain(generator.options.model_json_schema(), generator.options)
        named = {"generator": {"const": name, "description": generator.summary}}
        properties = table["properties"] | named | options["properties"]
        required = [*table["required"], *options["required"]]
        found.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    other = table["properties"]["generator"] | {"not": {"enum": list(GENERATORS)}}
    found.append(table | {"properties": table["properties"] | {"generator": other}, "required": table["required"]})
    return {"description": table["description"], "oneOf": found}


def _explain(table: Schema, card: type[BaseModel]) -> Schema:
    """A table with what its keys mean, as editors show it."""
    for field, meaning in meanings(card).items():
        table["properties"][field]["description"] = meaning
    return table


def _close(node: Any) -> None:
    """Where keys have a pattern, others are refused; lists of a fixed length are written as the dialect has them."""
    if isinstance(node, dict):
        if "prefixItems" in node:
            node |= {"items": node.pop("prefixItems"), "additionalItems": False}
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)
