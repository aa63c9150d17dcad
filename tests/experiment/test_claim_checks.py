"""Claims that name what the card or the registries do not have are refused, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from synthbench.cards import AxisCard
from synthbench.common.errors import BadInput
from synthbench.experiment import claims
from tests.analysis.example_rows import card_of
from tests.cards.test_claim import CLAIMS
from tests.each import each


def check(kind: str, changes: dict[str, Any]) -> None:
    card = card_of({"kind": kind} | trending(CLAIMS[kind]) | changes)
    decays = AxisCard(path=f"stages.{card.stages[-1].name}.weight_decay", values=[0, 0.1])
    claims.check(card.model_copy(update={"axes": [decays]}), ["wugs"], "card.toml")


def trending(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim whose axis every card has."""
    return claim | {"axis": "weight_decay"} if "axis" in claim else claim


@each("kind", CLAIMS)
def test_a_claim_of_each_kind_passes(kind: str) -> None:
    check(kind, {"readings": ["fit", "end"]} if kind == "difference" else {"tasks": ["wugs"]})


@each(
    ("kind", "changes", "phrases"),
    [
        ("difference", {"rows": {"optimizer": "muon", "base": "adamv"}}, ["claims.0.rows", "'adamv'", "'adamw'"]),
        ("interaction", {"matrix": {"optimizers": ["adamw", "moun"]}}, ["claims.0.matrix", "'moun'", "'muon'"]),
        (
            "difference",
            {"score": "learning@fit", "readings": ["fit"]},
            ["claims.0.score", "'learning@fit'", "readings"],
        ),
        ("difference", {"score": "fit", "readings": ["fit"]}, ["claims.0.score", "'fit@fit'"]),
        ("dominates", {"score": "fact_recall"}, ["claims.0.score", "with a direction", "'fact_recall'"]),
        ("dominates", {"no_worse": "steps_to_rule@t"}, ["claims.0.no_worse", "bound"]),
        ("dominates", {"no_worse": "bits_per_param"}, ["claims.0.no_worse", "margins"]),
        ("difference", {"expected": "no lower", "score": "steps_to_rule@t"}, ["claims.0.score", "bound"]),
        ("difference", {"expected": "no higher", "score": "bits_per_param"}, ["claims.0.expected", "margins"]),
        ("inversion", {"before": "learning@fit"}, ["claims.0.before", "score of a base", "'learning'"]),
        ("trend", {"axis": "dekay"}, ["claims.0.axis", "'dekay'", "weight_decay"]),
        ("trend", {"axis": "size"}, ["claims.0.axis", "'size'", "no axis"]),
        ("trend", {"rows": {"optimizer": "muon", "axes": {"depth": 2}}}, ["claims.0.rows.axes", "'depth'"]),
        (
            "trend",
            {"rows": {"optimizer": "muon", "axes": {"weight_decay": 0.1}}},
            ["weight_decay = 0.1", "two numbers"],
        ),
        ("trend", {"rows": {"optimizer": "muon", "axes": {"weight_decay": [0, 0.1]}}}, ["'log'", "the value 0"]),
        (
            "difference",
            {"than": {"optimizer": "adamw", "axes": {"size": [0.5, 1]}}},
            ["`rows` and `than`", "same values"],
        ),
        ("difference", {"tasks": ["wug"]}, ["claims.0.tasks", "'wug'", "'wugs'"]),
    ],
)
def test_a_mistake_is_one_sentence(kind: str, changes: dict[str, Any], phrases: list[str]) -> None:
    with pytest.raises(BadInput) as raised:
        check(kind, changes)
    assert all(phrase in str(raised.value) for phrase in ["card.toml", *phrases]), str(raised.value)
    assert "\n" not in str(raised.value)
