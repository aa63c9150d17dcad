"""`synthbench report --sort, --columns, --versus`: other scores, another order, differences to an optimizer's rows."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from synthbench.analysis.rows import Row
from synthbench.experiment.runs import Run
from synthbench.reporting import table
from synthbench.reporting.report import Report
from synthbench.reporting.view import View
from tests.calling import Caller
from tests.each import each
from tests.reporting import filled
from tests.reporting.made import CARD, row

BASE = [0.10, 0.20, 0.30]


def shown(rows: list[Row], **options: object) -> Report:
    view = View(**options)  # type: ignore[arg-type]
    view.check(rows)
    return replace(Report("e", CARD, {"rote-vs-rule": "f"}, "a command", rows, None, {}), view=view)


def learning(optimizer: str, values: list[float], update: str = "full", reference: bool = False) -> Row:
    return row(optimizer, update, {"learning": values, "forgetting@fit": values}, reference)


ROWS = [
    learning("adamw", [0.4, 0.5, 0.6], reference=True),
    learning("muon", [0.7, 0.8, 0.9]),
    learning("sgd", []),
    learning("muon", BASE, "lora-16"),
]


def order(found: Report) -> list[tuple[str, str]]:
    return [(line.row.optimizer, line.row.update) for line in found.table.lines]


def test_rows_are_sorted_best_first_within_their_task_and_those_without_the_score_last() -> None:
    assert order(shown(ROWS, sort="learning")) == [
        ("muon", "full"), ("adamw", "full"), ("muon", "lora-16"), ("sgd", "full"),
    ]  # fmt: skip
    assert order(shown(ROWS, sort="forgetting@fit")) == [
        ("muon", "lora-16"), ("adamw", "full"), ("muon", "full"), ("sgd", "full"),
    ]  # fmt: skip
    elsewhere = [one.model_copy(update={"task": "another"}) for one in ROWS[:2]]
    found = shown([*ROWS, *elsewhere], sort="learning", columns=["learning"]).table
    assert [line.row.task for line in found.lines] == ["rote-vs-rule"] * 4 + ["another"] * 2
    assert [line.row.optimizer for line in found.lines][-2:] == ["muon", "adamw"]
    assert found.heads()[-2:] == ["diverged", "learning ↑"]
    assert not any("@fit" in note for note in found.notes)


def test_differences_are_paired_and_signed_in_every_format() -> None:
    own = learning("muon", [value + one for value, one in zip(BASE, (0.03, 0.02, 0.04), strict=True)])
    found = shown([own, learning("adamw", BASE, reference=True), learning("sgd", [], "lora-16")], versus="adamw").table
    place = found.heads().index("learning ↑")
    assert [line[place] for line in found.cells()] == ["+0.03 ±0.02", "-", "-"]
    first, second, third = table.records(found)
    assert (first["learning"], first["versus"], first["learning_n"]) == (0.03, "adamw", 3)
    assert (second["learning"], second["versus"], third["versus"]) == (None, None, None)
    assert table.content(found)["versus"] == "adamw"
    for text in (table.as_markdown(found), table.as_latex(found).replace("$\\pm$", "±")):
        assert "+0.03 ±0.02" in text
    assert any("adamw" in note for note in found.notes)


def test_a_difference_to_what_diverged_or_was_not_reached_says_so_and_one_that_rounds_to_nothing_has_no_minus() -> None:
    own, lost = learning("muon", BASE), row("adamw", lr=None)
    place = shown([own, lost]).table.heads().index("learning ↑")
    assert shown([own, lost], versus="adamw").table.cells()[0][place] == "diverged"
    assert shown([own, learning("adamw", [])], versus="adamw").table.cells()[0][place] == "not reached"
    less = learning("muon", [one - 0.001 for one in BASE])
    assert "+0.00 ±0.00" in shown([less, learning("adamw", BASE)], versus="adamw").table.cells()[0]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def scored(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.1 * run.seed + (0.25 if run.optimizer.name == "muon" else 0.0)}

    return filled.folder(tmp_path_factory.mktemp("results"), scored)


def test_the_command_has_them_all_with_every_format_and_on_a_page(call: Caller, out: Path, tmp_path: Path) -> None:
    options = f"--out {out} --sort learning --columns learning,validation_learning --versus adamw"
    code, text, _ = call(f"report {options} --format csv")
    assert code == 0
    found = [(one["optimizer"], one["update"], one["learning"]) for one in csv.DictReader(io.StringIO(text))]
    assert found == [
        ("muon", "full", "0.25"),
        ("muon", "lora-4", "0.25"),
        ("adamw", "full", ""),
        ("adamw", "lora-4", ""),
    ]
    for form in ("table", "markdown", "json", "latex"):
        code, text, _ = call(f"report {options} --format {form}")
        assert code == 0
        assert "0.25" in text
    page = tmp_path / "page.md"
    page.write_text("<!-- BEGIN synthbench tiny-runner -->\n<!-- END synthbench tiny-runner -->\n")
    assert call(f"report {options} --into {page}").code == 0
    assert "+0.25 ±0.00" in page.read_text()


@each(
    ("options", "said"),
    [
        ("--sort lerning", "--sort.*'lerning'.*'learning'"),
        ("--columns lerning", "--columns.*'lerning'.*'learning'"),
        ("--columns learning,", "--columns"),
        ("--columns fit,fit", "--columns"),
        ("--versus moun", "--versus 'moun'.*'muon'"),
        ("--versus sgd", "adamw, muon"),
        ("--format reference --sort learning", "--format reference"),
    ],
)
def test_a_mistake_is_one_sentence(options: str, said: str, call: Caller, out: Path) -> None:
    code, text, err = call(f"report --out {out} {options}")
    assert (code, text, len(err.splitlines())) == (2, "", 1)
    assert re.search(said, err)


def test_tiers_and_the_command_that_completes_them_come_out_of_a_folder(call: Caller, tmp_path: Path) -> None:
    def scored(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.01 * (run.seed % 3) + (0.25 if run.optimizer.name == "muon" else 0.0)}

    made = filled.folder(tmp_path / "made", scored, "tier=learning", seeds=8, optimizers=["adamw", "muon"])
    filled.folder(made, scored, "tier=learning", seeds=3, optimizers=["sgd"])
    filled.folder(made, scored, "tier=learning", seeds=8, optimizers=["muon"])
    code, text, _ = call(f"report --out {made} --format csv --columns learning")
    assert code == 0
    tiers = {(one["optimizer"], one["update"]): one["tier"] for one in csv.DictReader(io.StringIO(text))}
    assert tiers == {
        ("adamw", "full"): "3", ("adamw", "lora-4"): "3", ("muon", "full"): "1", ("muon", "lora-4"): "1",
        ("sgd", "full"): "", ("sgd", "lora-4"): "",
    }  # fmt: skip
    shown_text = call(f"report --out {made}").out
    assert "sgd full (3 of 8 seeds), sgd lora-4 (3 of 8 seeds)" in shown_text
    (line,) = [one for one in shown_text.splitlines() if ": synthbench run " in one]
    assert line.endswith(f"--optimizer sgd --update full,lora-4 --out {made}")
