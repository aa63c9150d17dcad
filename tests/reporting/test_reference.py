"""Reference rows: shown only where task, card and code agree, never over one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.reference import Reference
from synthbench.reporting import notes
from tests.reporting.made import CARD, row

TASKS = {"rote-vs-rule": "a fingerprint"}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """A reference of AdamW and SGD that agrees with CARD, TASKS and this code, as if it were shipped."""
    made = reference.make(CARD, TASKS, [row("adamw"), row("adamw", "lora-16"), row("sgd")], "a command", [])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "quick.json").write_text(made.model_dump_json())
    monkeypatch.setattr(cards, "shipped", lambda: tmp_path)
    return made


def labels(rows: list[reference.Row]) -> list[tuple[str, str, bool]]:
    return [(found.optimizer, found.update, found.reference) for found in rows]


def test_rows_of_other_optimizers_stand_beside_one_s_own_which_are_never_replaced(shipped: Reference) -> None:
    together, source = reference.beside([row("muon")], CARD, TASKS)
    assert labels(together) == [("muon", "full", False), ("adamw", "full", True), ("sgd", "full", True)]
    assert source == shipped
    together, _ = reference.beside([row("adamw")], CARD, TASKS)
    assert labels(together) == [("adamw", "full", False), ("sgd", "full", True)]


def test_nothing_is_shown_where_card_task_or_code_differs_or_it_cannot_be_read(
    shipped: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    assert reference.beside([row("muon")], other, TASKS) == ([row("muon")], None)
    alike = CARD.model_copy(update={"seeds": 7, "optimizers": ["sgd"], "question": "?"})  # no other card
    assert reference.agreeing(alike, TASKS) == shipped
    assert reference.agreeing(CARD, {"rote-vs-rule": "another"}) is None
    monkeypatch.setattr("synthbench.experiment.identity.package_fingerprint", lambda: "edited")
    assert reference.agreeing(CARD, TASKS) is None
    (cards.shipped() / "reports" / "quick.json").write_text("{")
    assert reference.shipped(CARD) is None


def test_what_is_left_out_because_the_card_was_changed_is_said_to_be(shipped: Reference) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    left_out = reference.left_out([row("muon")], other, TASKS)
    assert labels(left_out) == [("adamw", "full", True), ("sgd", "full", True)]
    (note,) = notes.left_out(left_out)
    assert "(adamw, sgd)" in note
    assert reference.left_out([row("muon")], CARD, TASKS) == []
    assert reference.left_out([row("adamw"), row("sgd")], other, TASKS) == []  # nothing would stand beside them
    assert reference.left_out([row("muon")], other, {"rote-vs-rule": "another"}) == []
    assert notes.left_out([]) == []
