"""Columns on a terminal are folded between words, and inside a word only if it is longer than the column."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from synthbench.cards import RunnerCard, TaskCard, load, names
from synthbench.common.terminal import IN_ASCII
from synthbench.interface import commands
from synthbench.reporting import table
from synthbench.reporting.report import AS_IT_IS
from synthbench.reporting.terminal_table import Column, Drawing, fold
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS
from tests.analysis.example_rows import row
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results

NARROW = 60
BUILT_IN = [name for name in OPTIMIZERS if ":" not in name]


def terminal_text(drawing: object, width: int = NARROW) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(drawing)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def ascii_text(drawing: object, width: int = NARROW) -> str:
    """Without an error handler: what was not replaced before layout raises UnicodeEncodeError."""
    console = Console(width=width, file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    console.print(drawing)
    console.file.seek(0)
    return console.file.read()


def unbreakable_parts(text: str) -> set[str]:
    """Parts of words that are never folded; lines end after them."""
    return set(re.findall(r"[^-/_@\s]+", text))


@each(
    ("text", "width", "lines"),
    [
        ("about 33 seeds for 80 % power", 12, ["about 33", "seeds for 80", "% power"]),
        ("a-plug-in-of-some-length", 9, ["a-plug-", "in-of-", "some-", "length"]),
        ("rote-vs-rule", 12, ["rote-vs-rule"]),
        ("folder/file_name.py:Class", 13, ["folder/", "file_name.py:", "Class"]),
        ("abcde fghij", 5, ["abcde", "fghij"]),
        ("  indented", 12, ["  indented"]),
        ("", 5, [""]),
    ],
)
def test_text_is_folded_between_words_and_inside_a_word_only_if_necessary(
    text: str, width: int, lines: list[str]
) -> None:
    assert fold(text, width) == lines


@each("task", names(TaskCard))
def test_no_name_is_broken_on_a_narrow_terminal(task: str) -> None:
    """Tests every built-in optimizer and shipped variant, with every score, on each task."""
    variants = [name for runner in names(RunnerCard) for name in load(RunnerCard, runner).variants]
    labels = [(name, [name]) for name in [*BUILT_IN, *variants]] + [(name, ["adamw"]) for name in variants]
    rows = [row(name).model_copy(update={"base": base, "task": task}) for name, base in labels]
    rows += [rows[0].model_copy(update={"task": "another"})]  # several tasks: the column is shown
    text = terminal_text(table.as_rich(table.Table(rows, list(SCORES))))
    assert max(map(len, text.splitlines())) <= NARROW
    shown_names = " ".join([task, *SCORES, *(row.label for row in rows)])
    assert unbreakable_parts(shown_names) <= unbreakable_parts(text)


@each("kind", ["optimizer", "task", "score", "runner"])
def test_no_word_of_a_list_is_broken_on_a_narrow_terminal(
    kind: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthbench.interface.listing.console", lambda: Console(width=NARROW))
    text = call(f"ls {kind}").out
    assert max(map(len, text.splitlines())) <= NARROW
    page = call(f"ls {kind} --format markdown").out.replace("\\", "").replace("&lt;", "<").replace("&amp;", "&")
    words = unbreakable_parts(page.replace("|", " "))
    assert {word for word in words if len(word) > 1} <= unbreakable_parts(text)


def test_a_word_longer_than_the_terminal_is_broken_and_not_cut_off() -> None:
    text = terminal_text(Drawing([Column("name", ["x" * 90], least=9)], [Column("n", ["3"], is_right=True)]))
    assert text.count("x") == 90
    assert "3" in text


def test_an_ascii_terminal_gets_words_and_its_columns_stay_aligned() -> None:
    cells = ["0.52 ±0.09", "0.9 ±0.1 n=2", "é → è"]
    drawing = Drawing(
        [Column("name", ["a…z", "b", "c"])], [Column("fit ↓", cells, True), Column("x ↑", ["1", "2", "3"])]
    )
    assert ascii_text(drawing).splitlines() == [
        "name      fit (down)  x (up)",
        "----------------------------",
        "a...z    0.52 +-0.09  1     ",
        "b      0.9 +-0.1 n=2  2     ",
        r"c       \xe9 -> \xe8  3     ",
    ]


def test_a_report_on_an_ascii_terminal_fits_its_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = synthetic_results.write(tmp_path, lambda run: {"learning": 0.3 + 0.1 * run.seed, "fit": 0.9})
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=IN_ASCII)
    monkeypatch.setattr(sys, "stdout", stream)
    commands.report(out, None, AS_IT_IS, form="table", into=None, figures=None, assert_claims=False)
    stream.seek(0)
    text = stream.read()
    assert "0.40 +-0.25" in text
    assert "mean +-half the 95 % interval" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


@each("width", [60, 80])
def test_a_name_is_folded_between_its_words_and_not_inside_one(width: int) -> None:
    """A table has fewer scores sooner than a name with a hyphen is broken behind it."""
    rows = [row("adamw-1440-again").model_copy(update={"base": ["muon"], "task": name}) for name in names(TaskCard)]
    assert rows[0].label == "adamw-1440-again on muon"
    text = terminal_text(table.as_rich(table.Table(rows, list(SCORES))), width)
    assert {"adamw-1440-again", *names(TaskCard)} <= set(text.split())
    assert max(map(len, text.splitlines())) <= width
