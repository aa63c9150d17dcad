"""Columns on a terminal: folded at spaces, hyphens, slashes and underscores, and inside a word only where it must be."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from synthbench.cards import RunnerCard, TaskCard, load, names
from synthbench.reporting import table
from synthbench.reporting.terminal_table import Column, Drawing, fold
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS
from tests.calling import Caller
from tests.each import each
from tests.reporting.made import row

NARROW = 60
BUILT_IN = [name for name in OPTIMIZERS if ":" not in name]


def printed(drawing: object, width: int = NARROW) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(drawing)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def parts(text: str) -> set[str]:
    """The parts of words that lines may end with."""
    return set(re.findall(r"[^-/_@\s]+", text))


@each(
    ("text", "width", "lines"),
    [
        ("about 33 seeds for 80 % power", 12, ["about 33", "seeds for 80", "% power"]),
        ("a-plug-in-of-some-length", 9, ["a-plug-", "in-of-", "some-", "length"]),
        ("rote-vs-rule", 12, ["rote-vs-rule"]),
        ("folder/file_name.py:Class", 12, ["folder/file_", "name.py:Clas", "s"]),
        ("abcde fghij", 5, ["abcde", "fghij"]),
        ("  indented", 12, ["  indented"]),
        ("", 5, [""]),
    ],
)
def test_text_is_folded_between_words_first_and_inside_one_last(text: str, width: int, lines: list[str]) -> None:
    assert fold(text, width) == lines


@each("task", names(TaskCard))
def test_no_name_is_broken_on_a_narrow_terminal(task: str) -> None:
    """Every built-in optimizer and every variant of a shipped runner, with every score, on each task."""
    variants = [name for runner in names(RunnerCard) for name in load(RunnerCard, runner).variants]
    labels = [(name, [name]) for name in [*BUILT_IN, *variants]] + [(name, ["adamw"]) for name in variants]
    rows = [row(name).model_copy(update={"base": base, "task": task}) for name, base in labels]
    rows += [rows[0].model_copy(update={"task": "another"})]  # so that tasks are shown
    text = printed(table.as_rich(table.make(rows, list(SCORES))))
    assert max(map(len, text.splitlines())) <= NARROW
    wanted = " ".join([task, *SCORES, *(line.row.label for line in table.make(rows, []).lines)])
    assert parts(wanted) <= parts(text)


@each("kind", ["optimizer", "task", "score", "runner"])
def test_no_word_of_a_list_is_broken_on_a_narrow_terminal(
    kind: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthbench.interface.listing.console", lambda: Console(width=NARROW))
    text = call(f"ls {kind}").out
    assert max(map(len, text.splitlines())) <= NARROW
    page = call(f"ls {kind} --format markdown").out.replace("\\", "").replace("&lt;", "<").replace("&amp;", "&")
    words = parts(page.replace("|", " "))
    assert {word for word in words if len(word) > 1} <= parts(text)


def test_a_word_longer_than_the_terminal_is_broken_rather_than_cut_off() -> None:
    text = printed(Drawing([Column("name", ["x" * 90], least=9)], [Column("n", ["3"], is_right=True)]))
    assert text.count("x") == 90
    assert "3" in text
