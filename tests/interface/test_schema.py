"""The JSON Schemas: not stale, every shipped card fits, what the program refuses in a card's form does not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

from synthbench import cards
from synthbench.cards import RunnerCard, TaskCard
from synthbench.common import overrides
from synthbench.interface.scaffold import schema
from synthbench.interface.scaffold.new import SCHEMAS, TEMPLATES
from tests import tiny
from tests.calling import Caller
from tests.each import each

SHIPPED = [
    (kind, path)
    for kind, folder in (("task", "tasks"), ("runner", "runners"))
    for path in sorted((cards.shipped() / folder).glob("*.toml"))
]
STARTING = [("runner" if path.name == "runner.toml" else "task", path) for path in sorted(TEMPLATES.glob("*.toml"))]


def validator(kind: str) -> Draft7Validator:
    return Draft7Validator(json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))


@each("kind", ["task", "runner"])
def test_the_shipped_schema_is_what_the_command_prints(kind: str, call: Caller) -> None:
    assert call(f"schema {kind}").out == (SCHEMAS / f"{kind}.schema.json").read_text()
    Draft7Validator.check_schema(schema.schema(kind))


def test_another_kind_is_refused(call: Caller) -> None:
    code, _, err = call("schema score")
    assert code == 2
    assert "'score'" in err
    assert "task, runner" in err


@each(("kind", "path"), [*SHIPPED, *STARTING])
def test_every_shipped_card_fits_and_names_its_schema(kind: str, path: Path) -> None:
    assert not list(validator(kind).iter_errors(tomllib.loads(path.read_text())))
    first = path.read_text().split("\n")[0]
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == SCHEMAS / f"{kind}.schema.json"


def test_every_key_of_a_card_is_in_the_schema_and_what_it_means() -> None:
    task, runner = schema.schema("task"), schema.schema("runner")
    for found, card in ((task, TaskCard), (runner, RunnerCard)):
        assert set(found["properties"]) == set(card.model_fields) - {"variant"}
    assert task["$defs"]["LanguageCard"]["properties"]["syllables"]["description"] == "Distinct syllables."
    assert "multiplied" in runner["$defs"]["OverrideCard"]["properties"]["lr_factor"]["description"]
    (wugs,) = (
        one for one in task["$defs"]["SliceCard"]["oneOf"] if one["properties"]["generator"].get("const") == "wugs"
    )
    assert wugs["properties"]["exceptions"]["description"] == "Share of the trained verbs that are exceptions."
    assert "held out" in wugs["properties"]["unseen"]["description"]  # an inherited one


WRONG = [
    ("task", "questoin", "?"), ("task", "name", "With Spaces"), ("task", "version", 1.0), ("task", "language.sylables", 3),
    ("task", "held_out.test", 0), ("task", "stages.finetune.facts", {}), ("task", "stages.finetune.rule.itmes", 3),
    ("task", "stages.finetune.rule.shift", [3]), ("task", "stages.finetune.rule.shifts", []),
    ("task", "stages.finetune.rule.generator", 3), ("task", "stages.Not-A-Name", {"fact": {}}),
    ("runner", "task", ["wugs"]), ("runner", "seeds", 0), ("runner", "stages.finetune.schedule", "linear"),
    ("runner", "stages.finetune.lr", "fast"), ("runner", "stages.finetune.for", {"sgd": {"step": 3}}),
    ("runner", "reading.fit", 2),
    ("runner", "arguments", {"muon": {"nesterof": True}}), ("runner", "variants", {"x": {"lr": [1]}}),
]  # fmt: skip


@each(("kind", "path", "value"), WRONG)
def test_what_is_wrong_on_a_card_does_not_fit(kind: str, path: str, value: object) -> None:
    text = tiny.TASK if kind == "task" else tiny.RUNNER.replace("TASK", "'wugs'")
    content = tomllib.loads(text)
    assert validator(kind).is_valid(content)
    overrides.put(content, path.split("."), value, "the test")
    assert not validator(kind).is_valid(content)


def test_a_generator_of_one_s_own_has_any_options() -> None:
    content = tomllib.loads(tiny.TASK)
    content["stages"]["finetune"]["rule"] = {"generator": "mine.py:x", "items": 3, "share": 1, "anything": [1, "two"]}
    assert validator("task").is_valid(content)
    del content["stages"]["finetune"]["rule"]["items"]
    assert not validator("task").is_valid(content)
