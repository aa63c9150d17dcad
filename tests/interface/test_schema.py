"""The JSON Schemas are up to date, accept every shipped card and refuse cards that the program refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

from synthbench import cards
from synthbench.cards import RunnerCard, TaskCard
from synthbench.common import overrides
from synthbench.interface.scaffold import SCHEMAS, TEMPLATES, schema
from tests import tiny
from tests.calling import Caller
from tests.each import each

SHIPPED = [
    (kind, path)
    for kind, folder in (("task", "tasks"), ("runner", "runners"))
    for path in sorted((cards.shipped() / folder).glob("*.toml"))
]
NEW = [("runner" if path.name == "runner.toml" else "task", path) for path in sorted(TEMPLATES.glob("*.toml"))]


def validator(kind: str) -> Draft7Validator:
    return Draft7Validator(json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))


@each("kind", ["task", "runner"])
def test_the_shipped_schema_is_what_the_command_prints(kind: str, call: Caller) -> None:
    assert call(f"schema {kind}").out == (SCHEMAS / f"{kind}.schema.json").read_text()
    Draft7Validator.check_schema(schema(kind))


def test_an_unknown_kind_is_refused(call: Caller) -> None:
    code, _, err = call("schema score")
    assert code == 2
    assert "'score'" in err
    assert "task, runner" in err


@each(("kind", "path"), [*SHIPPED, *NEW])
def test_every_shipped_card_is_valid_and_names_its_schema(kind: str, path: Path) -> None:
    assert not list(validator(kind).iter_errors(tomllib.loads(path.read_text())))
    first = path.read_text().split("\n")[0]
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == SCHEMAS / f"{kind}.schema.json"


def test_every_key_of_a_card_is_described_in_the_schema() -> None:
    task, runner = schema("task"), schema("runner")
    for card_schema, card in ((task, TaskCard), (runner, RunnerCard)):
        assert set(card_schema["properties"]) == set(card.model_fields) - {"variant"}
    assert task["$defs"]["LanguageCard"]["properties"]["syllables"]["description"] == "Distinct syllables."
    assert "multiplied" in runner["$defs"]["OverrideCard"]["properties"]["lr_factor"]["description"]
    (wugs,) = (
        slice_schema
        for slice_schema in task["$defs"]["SliceCard"]["oneOf"]
        if slice_schema["properties"]["generator"].get("const") == "wugs"
    )
    assert wugs["properties"]["exceptions"]["description"] == "Share of the trained verbs that are exceptions."
    assert "held out" in wugs["properties"]["unseen"]["description"]  # an inherited one


INVALID = [
    ("task", "questoin", "?"), ("task", "name", "With Spaces"), ("task", "version", 1.0), ("task", "language.sylables", 3),
    ("task", "held_out.test", 0), ("task", "stages.finetune.facts", {}), ("task", "stages.finetune.rule.itmes", 3),
    ("task", "stages.finetune.rule.shift", [3]), ("task", "stages.finetune.rule.shifts", []),
    ("task", "stages.finetune.rule.generator", 3), ("task", "stages.Not-A-Name", {"fact": {}}),
    ("runner", "task", ["wugs"]), ("runner", "seeds", 0), ("runner", "stages.finetune.schedule", "linear"),
    ("runner", "stages.finetune.lr", "fast"), ("runner", "stages.finetune.for", {"sgd": {"step": 3}}),
    ("runner", "reading.fit", 2),
    ("runner", "arguments", {"muon": {"nesterof": True}}), ("runner", "variants", {"x": {"lr": [1]}}),
]  # fmt: skip


@each(("kind", "path", "value"), INVALID)
def test_an_invalid_card_is_refused_by_the_schema(kind: str, path: str, value: object) -> None:
    text = tiny.TASK if kind == "task" else tiny.RUNNER.replace("TASK", "'wugs'")
    content = tomllib.loads(text)
    assert validator(kind).is_valid(content)
    overrides.put(content, path.split("."), value, "the test")
    assert not validator(kind).is_valid(content)


def test_a_generator_from_a_file_accepts_any_options() -> None:
    content = tomllib.loads(tiny.TASK)
    content["stages"]["finetune"]["rule"] = {"generator": "mine.py:x", "items": 3, "share": 1, "anything": [1, "two"]}
    assert validator("task").is_valid(content)
    del content["stages"]["finetune"]["rule"]["items"]
    assert not validator("task").is_valid(content)
