"""Reference rows: shown only where task, card and code agree, never over one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench import cards
from synthbench.reporting import reference
from synthbench.reporting.reference import Reference
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


def test_rows_of_other_optimizers_stand_beside_one_s_own(shipped: Reference) -> None:
    together, source = reference.beside([row("muon")], CARD, TASKS)
    assert labels(together) == [("muon", "full", False), ("adamw", "full", True), ("sgd", "full", True)]
    assert source == shipped


def test_one_s_own_rows_are_never_replaced(shipped: Reference) -> None:
    together, _ = reference.beside([row("adamw")], CARD, TASKS)
    assert labels(together) == [("adamw", "full", False), ("sgd", "full", True)]


def test_nothing_is_shown_where_the_card_differs(shipped: Reference) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    assert reference.beside([row("muon")], other, TASKS) == ([row("muon")], None)


def test_seeds_optimizers_and_prose_do_not_make_another_card(shipped: Reference) -> None:
    other = CARD.model_copy(update={"seeds": 7, "optimizers": ["sgd"], "question": "?"})
    assert reference.agreeing(other, TASKS) == shipped


def test_nothing_is_shown_where_the_task_differs(shipped: Reference) -> None:
    assert reference.agreeing(CARD, {"rote-vs-rule": "another"}) is None


def test_nothing_is_shown_where_the_code_differs(shipped: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.experiment.identity.package_fingerprint", lambda: "edited")
    assert reference.agreeing(CARD, TASKS) is None


def test_a_reference_that_cannot_be_read_is_none(shipped: Reference) -> None:
    (cards.shipped() / "reports" / "quick.json").write_text("{")
    assert reference.shipped(CARD) is None


def test_what_is_left_out_because_the_card_was_changed_is_said_to_be(shipped: Reference) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    said = reference.left_out([row("muon")], other, TASKS)
    assert said is not None
    assert "(adamw, sgd)" in said
    assert reference.left_out([row("muon")], CARD, TASKS) is None
    assert reference.left_out([row("adamw"), row("sgd")], other, TASKS) is None  # nothing would stand beside them
    assert reference.left_out([row("muon")], other, {"rote-vs-rule": "another"}) is None
