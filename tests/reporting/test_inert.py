"""Names and texts are inert in every output format: no markup, control character or formula takes effect."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shlex
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from synthbench.cards import RunnerCard
from synthbench.common.wording import code, delimited, inert, listed, literal, named, prose, short, shown
from synthbench.reporting import export, report, table
from synthbench.reporting.report import Report
from tests import tiny
from tests.analysis.example_rows import CARD, row
from tests.calling import Caller
from tests.each import each
from tests.nonsense import is_plain

END = "<!-- END synthbench quick -->"
NASTY = [
    "[/red]", "[bold red]x[/bold red]", "\x1b[31mred", "\x1b]8;;http://x\x07y", "\x9b31m", "a|b", "a\nb", "a\r\nb", "a\tb",
    "\u202etxt.exe", "\u05e9\u05dc\u05d5\u05dd 12", "\u0661\u0662", "\u2028", "\ufeff", "\udcff",
    "=1+1", " =1+1", "+1", "-1", "@x",
    "\t=1", "1e3", "1_0", "*", "*x*", "_x_", "`x`", "``", "<script>x</script>", "&amp;", "&lt;", END, "# x", "$x$",
    "\\", "\\|", "[x](http://y)", "%&#_{}~^", "x" * 300, "", " ", "a,b", 'a"b', "nan", "None",
]  # fmt: skip
each_name = each("name", NASTY)


def table_of(name: str) -> table.Table:
    rows = [
        row("muon").model_copy(update={"optimizer": name, "base": [name], "device": name}),
        row("adamw").model_copy(update={"task": name}),
    ]
    return table.Table(rows, CARD.columns, title=name, notes=[f"a note on {name}"])


def report_of(text: str) -> Report:
    """A report with this text in every place for a name, a question, a command, a device or a version."""
    card: RunnerCard = CARD.model_copy(update={"question": text})
    rows = [
        row("adamw").model_copy(update={"device": text}),
        row("muon").model_copy(update={"optimizer": text, "base": [text], "device": text}),
    ]
    return Report("e", card, {"rote-vs-rule": "f"}, text, rows, None, {"torch": text})


def terminal_text(shown_table: table.Table, width: int = 100, **options: Any) -> str:
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(table.as_rich(shown_table))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@each_name
def test_a_terminal_gets_no_control_characters_and_no_markup_from_names(name: str) -> None:
    colored = terminal_text(table_of(name), force_terminal=True, color_system="truecolor")
    assert is_plain(re.sub(r"\x1b\[[0-9;]*m", "", colored))
    assert set(re.findall(r"\x1b\[([0-9;]*)m", colored)) <= {"", "0", "1", "2"}  # bold heads, dim reference rows
    text = terminal_text(table_of(name))
    assert is_plain(text)
    assert max(map(len, text.splitlines())) <= 100
    if len(inert(name)) < 10:
        assert inert(name).strip() in text


@each_name
def test_markdown_keeps_its_cells_and_shows_the_name(name: str) -> None:
    page = table.as_markdown(table_of(name))
    assert is_plain(page)
    lines = page.split("\n")
    cells = [re.split(r"(?<!\\)\|", line.replace("\\\\", "\0"))[1:-1] for line in lines[:4]]
    assert {len(line) for line in cells} == {len(table_of(name).heads())}
    unescaped = re.sub(r"\\(.)", r"\1", cells[2][1].replace("\0", "\\\\")).strip()
    assert html.unescape(unescaped) == short(inert(name), table.WIDEST).strip()
    for sign in "<`*[":
        assert not re.search(rf"(?<!\\){re.escape(sign)}", page.replace("\\\\", "")), sign


@each_name
def test_csv_and_json_have_the_complete_name_without_formulas_or_control_characters(name: str) -> None:
    text = table.as_csv(table_of(name))
    assert is_plain(text)
    record = next(csv.DictReader(io.StringIO(text)))
    assert record["optimizer"].removeprefix("'") == inert(name)
    assert not record["optimizer"].lstrip().startswith(("=", "+", "-", "@", "\t"))
    assert float(record["rote_gap@fit_low"]) == 0.5
    text = json.dumps(table.content(table_of(name)))
    assert text.isascii()
    assert is_plain(text)
    assert json.loads(text)["rows"][0]["optimizer"] == name


@each_name
def test_latex_is_escaped(name: str) -> None:
    text = table.as_latex(table_of(name))
    assert is_plain(text)
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().split("\n")
    assert len(body) == 2
    for line in body:
        assert line.endswith("\\\\")
        assert len(re.findall(r"(?<!\\)&", line)) == len(table_of(name).heads()) - 1
        assert not re.search(r"(?<!\\)[%#_]", line)
        assert not line.lstrip().startswith(("[", "*"))


@each_name
def test_a_page_is_escaped_and_its_sentence_is_one_line(name: str) -> None:
    named_report = report_of(name)
    page = report.markdown(named_report)
    assert is_plain(page + named_report.sentence)
    assert "\n" not in named_report.sentence
    outside = re.sub(r"^- Command: (`+).*\1$", "", page, flags=re.MULTILINE)
    assert "<" not in outside
    assert outside.count("\n- ") == 3
    command = re.search(r"^- Command: (`+) ?(.*?) ?\1$", page, re.MULTILINE)
    assert command
    assert command[2].strip() == inert(name).strip()


@each_name
def test_text_between_markers_cannot_break_them(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin = "<!-- BEGIN synthbench quick -->"
    page.write_bytes(f"before\r\n{begin}\r\n{END}\r\nafter\r\n".encode())
    for _ in range(2):
        report.put_into(page, "quick", report.body(report_of(name)))
    content = page.read_bytes()
    assert content.startswith(f"before\r\n{begin}\r\n".encode())
    assert content.endswith(f"{END}\r\nafter\r\n".encode())
    assert report.body(report_of(name)) in content.decode()


@each(("name", "form"), product(NASTY, export.FORMATS))
def test_exported_runs_are_inert(name: str, form: str) -> None:
    names = {"optimizer": name, "routing": [[name, name]], "versions": {name: name}, "device": name}
    path = [{"step": 3, "scores": {"fit": 0.25}}]
    run = dict.fromkeys(export.OF_POINT) | {"run": "1e3", "lr": -1e-3, "scores": {"fit": 0.5}, "path": path} | names
    text = "\n".join(export.lines(form, [run]))
    assert is_plain(text)
    if form == "csv":
        (record,) = csv.DictReader(io.StringIO(text))
        assert (record["run"], record["lr"], record["fit"]) == ("1e3", "-0.001", "0.5")
        assert record["device"].removeprefix("'") == inert(name)
        assert json.loads(record["routing"]) == [[name, name]]
    elif form == "paths":
        (record,) = csv.DictReader(io.StringIO(text))
        assert (record["run"], record["lr"], record["step"], record["value"]) == ("1e3", "-0.001", "3", "0.25")
        assert record["optimizer"].removeprefix("'") == inert(name)
    else:
        assert text.isascii()
        record = json.loads(text)
        assert (record[0] if form == "json" else record)["device"] == name


def test_a_long_name_is_shortened_in_tables_and_complete_elsewhere() -> None:
    name = "begins" + "x" * 290 + "ends"
    for text in (
        terminal_text(table_of(name)),
        table.as_markdown(table_of(name)).split("\n\n")[0],
        table.as_latex(table_of(name)),
    ):
        squeezed = re.sub(r"\s", "", text)
        assert "xxx" in squeezed
        assert "…" in squeezed
        assert name not in squeezed
        assert max(map(len, text.splitlines())) < 270
    assert name in table.as_csv(table_of(name))
    assert name in json.dumps(table.content(table_of(name)))
    assert short("x" * 300 + "a", 32) != short("x" * 300 + "b", 32)  # different ends stay distinguishable
    assert len(short("x" * 300, 32)) == 32
    assert short("x" * 32, 32) == "x" * 32


@each_name
def test_every_function_for_sentences_makes_names_inert(name: str) -> None:
    for text in (inert(name), named(name), prose(name), shown(name), listed([name]), literal(name), code(name)):
        assert is_plain(text)
        assert "\n" not in text
    assert is_plain(delimited(name))
    assert len(named(name)) <= 160


def test_code_has_enough_backticks() -> None:
    assert code("a") == "`a`"
    assert code("a`b") == "`` a`b ``"
    assert code("``") == "``` `` ```"


FREE = [name for name in NASTY if name.isprintable() and "\\" not in name and '"' not in name]
FOLDERS = [name for name in NASTY if name.strip() and not set(name) & set("/,") and len(name) < 99]


@each(
    ("text", "kind"),
    zip(
        [*FREE, "\u202ex", "\x9b31m", "\u2028", "a\\nb", "\\u001b[31m", "\\t"], cycle(["runner", "task"]), strict=False
    ),
)
def test_cards_are_shown_inert(
    text: str, kind: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.write(tmp_path, tiny.RUNNER.replace("Does it work?", text).replace("nothing", text))
    monkeypatch.chdir(tmp_path)
    task = tiny.TASK.replace("Does it work?", text).replace("256 names.", text).replace('"none"', f'"{text}"')
    (tmp_path / "task.toml").write_text(task.replace("owns", text[:12] or "owns"))
    status, out, err = call(f"show {kind} ./{kind}.toml")
    assert (status, err) == (0, ""), err
    assert is_plain(out)
    assert all(len(line) <= 100 for line in out.splitlines() if line not in path.read_text())


COMMANDS = product(["run --dry-run", "show runner", "show task", "run --dry-run --task"], [True, False])


@each(
    ("folder", "command", "broken"), ((folder, *case) for folder, case in zip(FOLDERS, cycle(COMMANDS), strict=False))
)
def test_paths_are_shown_inert(folder: str, command: str, broken: bool, call: Caller, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    tiny.write(tmp_path / folder, tiny.RUNNER.replace("[TASK]", '["./task.toml"]'))
    path = tmp_path / folder / ("task.toml" if "task" in command else "runner.toml")
    if broken:
        path.write_text("name = [")
    status, out, err = call(f"{command} {shlex.quote(str(path))}")
    assert is_plain(out + err)
    if broken:
        assert (status, out, len(err.splitlines())) == (2, "", 1)
    else:
        assert status == (2 if command.startswith("run") and folder == "\udcff" else 0), err  # plans are stored as text
