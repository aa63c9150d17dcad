"""Reference rows are shown only if task, card and code agree, and never in place of measured rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.reference import Reference
from synthbench.reporting import notes
from synthbench.reporting.report import Report
from synthbench.trainer.native import path as paths
from tests.analysis.example_rows import CARD, row

TASKS = {"rote-vs-rule": "a fingerprint"}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """Shipped reference rows of AdamW and SGD that agree with CARD, TASKS and the code."""
    rows_file = reference.make(CARD, TASKS, [row("adamw"), row("adamw", "lora-16"), row("sgd")], "a command", [])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "quick.json").write_text(rows_file.model_dump_json())
    monkeypatch.setattr(cards, "shipped", lambda: tmp_path)
    return rows_file


def labels(rows: list[reference.Row]) -> list[tuple[str, str, bool]]:
    return [(row.optimizer, row.update, row.reference) for row in rows]


def test_reference_rows_are_added_beside_measured_rows_and_never_replace_them(shipped: Reference) -> None:
    together, source = reference.beside([row("muon")], CARD, TASKS)
    assert labels(together) == [("muon", "full", False), ("adamw", "full", True), ("sgd", "full", True)]
    assert source == shipped
    together, _ = reference.beside([row("adamw")], CARD, TASKS)
    assert labels(together) == [("adamw", "full", False), ("sgd", "full", True)]


def test_on_axes_reference_rows_are_those_at_the_places_of_measured_rows(shipped: Reference) -> None:
    along = [row(name).model_copy(update={"axes": {"decay": value}}) for name in ("adamw", "sgd") for value in (0, 1)]
    made = reference.make(CARD, TASKS, along, "a command", [])
    (cards.shipped() / "reports" / "quick.json").write_text(made.model_dump_json())
    for values, expected in (
        ((1,), [("adamw", 1), ("sgd", 1)]),
        ((0, 1), [(r.optimizer, r.axes["decay"]) for r in along]),
    ):
        mine = [row("muon").model_copy(update={"axes": {"decay": value}}) for value in values]
        together, _ = reference.beside(mine, CARD, TASKS)
        assert [(r.optimizer, r.axes["decay"]) for r in together if r.reference] == expected


def test_no_reference_row_is_shown_if_card_task_or_code_differs_or_the_file_is_invalid(
    shipped: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    assert reference.beside([row("muon")], other, TASKS) == ([row("muon")], None)
    # these keys do not change the fingerprint
    same_fingerprint = CARD.model_copy(update={"seeds": 7, "optimizers": ["sgd"], "question": "?"})
    assert reference.beside([row("muon")], same_fingerprint, TASKS)[1] == shipped
    assert reference.beside([row("muon")], CARD, {"rote-vs-rule": "another"})[1] is None
    monkeypatch.setattr("synthbench.analysis.reference.package", lambda *_: "edited")
    assert reference.beside([row("muon")], CARD, TASKS)[1] is None
    (cards.shipped() / "reports" / "quick.json").write_text("{")
    assert reference.shipped(CARD) is None


def test_rows_of_the_native_path_are_of_its_code_too(shipped: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of torch's path are not: an edit of the C++ leaves them."""
    torchs, mine = [row("adamw")], [row("muon")]
    natives = [row("adamw").model_copy(update={"device": f"a CPU, {paths.MARK}g++"})]
    for rows, is_shown in ((torchs, True), (natives, False)):
        made = reference.make(CARD, TASKS, rows, "a command", [])
        (cards.shipped() / "reports" / "quick.json").write_text(made.model_dump_json())
        assert reference.beside(mine, CARD, TASKS)[1] == made
        with monkeypatch.context() as edited:
            edited.setattr(paths, "source", lambda: "edited")
            assert bool(reference.beside(mine, CARD, TASKS)[1]) is is_shown


def test_other_rates_and_other_optimizers_arguments_keep_reference_rows(shipped: Reference) -> None:
    last = CARD.stages[-1].model_copy(update={"lr": [1e-5], "extend": 0})
    other = CARD.model_copy(
        update={"stages": [*CARD.stages[:-1], last], "arguments": CARD.arguments | {"mine.py:Mine": {"beta": 0.5}}}
    )
    together, _ = reference.beside([row("muon")], other, TASKS)
    assert labels(together) == [("muon", "full", False), ("adamw", "full", True), ("sgd", "full", True)]
    # an argument of the reference rows' own optimizer is another matter
    changed = other.model_copy(update={"arguments": CARD.arguments | {"adamw": {"betas": [0.8, 0.9]}}})
    assert labels(reference.beside([row("muon")], changed, TASKS)[0])[1:] == [("sgd", "full", True)]


def test_of_two_references_the_one_with_the_trials_of_the_measured_rows_is_shown(shipped: Reference) -> None:
    """The table marks the trials where they differ."""

    def with_trials(name: str, trials: list[int]) -> reference.Row:
        return row(name).model_copy(update={"trials": trials})

    for file, trials in (("quick.json", [1, 3]), ("quick-wide.json", [5, 5])):
        made = reference.make(CARD, TASKS, [with_trials("adamw", trials)], file, [])
        made = made.model_copy(update={"versions": {"torch": "2"}})
        (cards.shipped() / "reports" / file).write_text(made.model_dump_json())
    for trials, file, marked in (
        ([5, 5], "quick-wide.json", None),
        ([1, 3], "quick.json", None),
        ([9, 9], "quick.json", "9x9"),
    ):
        together, source = reference.beside([with_trials("muon", trials)], CARD, TASKS)
        assert source is not None
        assert source.command == file
        shown = Report("e", CARD, TASKS, "a command", together, source, {}).table.fixed()
        assert shown.get("trials", [None])[0] == marked


def test_reference_rows_are_read_behind_a_byte_order_mark(shipped: Reference) -> None:
    path = cards.shipped() / "reports" / "quick.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert reference.shipped(CARD) == shipped


def test_a_note_names_reference_rows_left_out_because_the_card_differs(shipped: Reference) -> None:
    other = CARD.model_copy(update={"model": "compact"})
    left_out = reference.left_out([row("muon")], other, TASKS)
    assert labels(left_out) == [("adamw", "full", True), ("sgd", "full", True)]
    (note,) = notes.left_out(left_out)
    assert "(adamw, sgd)" in note
    assert reference.left_out([row("muon")], CARD, TASKS) == []
    assert reference.left_out([row("adamw"), row("sgd")], other, TASKS) == []  # both are measured
    assert reference.left_out([row("muon")], other, {"rote-vs-rule": "another"}) == []
    assert notes.left_out([]) == []
