"""The keys of each kind of claim."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from synthbench.cards import ClaimCard, RunnerCard, load, parse
from synthbench.common.errors import BadInput
from tests.each import each

ROWS = {"rows": {"optimizer": "muon"}}
PAIR = {**ROWS, "than": {"optimizer": "adamw"}}
CLAIMS: dict[str, dict[str, Any]] = {
    "difference": {**PAIR, "expected": "lower"},
    "interaction": {"matrix": {"optimizers": ["adamw", "muon"]}, "expected": "lower"},
    "trend": {**ROWS, "axis": "decay", "scale": "log", "expected": "higher"},
    "dominates": {**PAIR, "no_worse": "rule_accuracy"},
    "inversion": {**ROWS, "axis": "decay", "before": "validation_loss"},
}


def claim(kind: str, changes: dict[str, Any]) -> ClaimCard:
    """A claim of a kind, as on a card."""
    content = {"kind": kind, "says": "It is so.", "source": "us", "score": "learning", **CLAIMS[kind], **changes}
    card = load(RunnerCard, "quick").model_dump(mode="json", by_alias=True, exclude={"claims"})
    kept = {key: value for key, value in content.items() if value is not None}
    return parse(RunnerCard, card | {"claims": [kept]}, "card.toml").claims[0]


@each("kind", CLAIMS)
def test_a_claim_of_each_kind_survives_storage(kind: str) -> None:
    """Also as it is stored, with every key and its default."""
    made = claim(kind, {})
    assert ClaimCard.model_validate_json(made.model_dump_json()) == made


@each(
    ("kind", "changes", "phrases"),
    [
        ("trend", {"axis": None}, ["kind trend needs axis"]),
        ("interaction", {"matrix": None}, ["kind interaction needs matrix"]),
        ("dominates", {"no_worse": None}, ["kind dominates needs no_worse"]),
        ("difference", {"axis": "decay"}, ["kind difference has rows, than, expected, but no axis"]),
        ("trend", {"than": {"optimizer": "adamw"}}, ["kind trend has rows, axis, expected, scale, but no than"]),
        ("inversion", {"expected": "higher"}, ["kind inversion has rows, axis, before, but no expected"]),
        ("difference", {"kind": "differnce"}, ["claims.0.kind", "'differnce'", "'difference'", "'inversion'"]),
        ("difference", {"readings": ["fitt"]}, ["claims.0.readings.0", "'fitt'", "'fits'"]),
        ("interaction", {"matrix": {"optimizers": ["adamw"]}}, ["claims.0.matrix.optimizers", "2"]),
        ("difference", {"rows": {"optimizer": "muon", "axes": {"decay": []}}}, ["claims.0.rows.axes.decay"]),
    ],
)
def test_a_mistake_is_one_sentence_with_what_is_allowed(kind: str, changes: dict[str, Any], phrases: list[str]) -> None:
    with pytest.raises(BadInput) as raised:
        claim(kind, changes)
    assert all(phrase in str(raised.value) for phrase in ["card.toml", *phrases]), str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_scores_under_each_reading() -> None:
    assert claim("difference", {"readings": ["fit", "end"]}).scores == ["learning@fit", "learning"]
    assert claim("difference", {"score": "learning@fits"}).scores == ["learning@fits"]


def test_a_place_on_an_axis_that_is_listed_is_one_of_several() -> None:
    text = 'rows = { optimizer = "muon", axes = { decay = [0, 0.1], depth = 2, size = 0.5 } }'
    (rows,) = claim("trend", tomllib.loads(text)).sides
    assert rows.pooled == {"decay": [0, 0.1]}
    assert rows.has({"decay": 0.1, "depth": 2.0, "size": 0.5})
    assert not rows.has({"decay": 0.2, "depth": 2.0, "size": 0.5})
    assert not rows.has({"decay": 0.1, "size": 0.5})
