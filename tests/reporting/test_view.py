"""`synthbench report --sort --columns --versus`: order, scores, and differences to an optimizer."""

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
from synthbench.reporting.report import Report, View
from tests.analysis.example_rows import CARD, row
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results

BASE = [0.10, 0.20, 0.30]


def report_with(rows: list[Row], **options: object) -> Report:
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


def order(viewed: Report) -> list[tuple[str, str]]:
    return [(row.optimizer, row.update) for row in viewed.table.rows]


def test_rows_are_sorted_best_first_by_task_and_rows_without_the_score_are_last() -> None:
    assert order(report_with(ROWS, sort="learning")) == [
        ("muon", "full"), ("adamw", "full"), ("muon", "lora-16"), ("sgd", "full"),
    ]  # fmt: skip
    assert order(report_with(ROWS, sort="forgetting@fit")) == [
        ("muon", "lora-16"), ("adamw", "full"), ("muon", "full"), ("sgd", "full"),
    ]  # fmt: skip
    on_another_task = [row.model_copy(update={"task": "another"}) for row in ROWS[:2]]
    shown_table = report_with([*ROWS, *on_another_task], sort="learning", columns=["learning"]).table
    assert [row.task for row in shown_table.rows] == ["rote-vs-rule"] * 4 + ["another"] * 2
    assert [row.optimizer for row in shown_table.rows][-2:] == ["muon", "adamw"]
    assert shown_table.heads()[-2:] == ["diverged", "learning ↑"]
    assert not any("@fit" in note for note in shown_table.notes)


def test_differences_are_paired_and_signed_in_every_format() -> None:
    muon, adamw = learning("muon", [0.13, 0.22, 0.34]), learning("adamw", BASE, reference=True)
    shown_table = report_with([muon, adamw, learning("sgd", [], "lora-16")], versus="adamw").table
    column = shown_table.heads().index("learning ↑")
    assert [line[column] for line in shown_table.cells()] == ["+0.03 ±0.02", "-", "-"]
    first, second, third = table.records(shown_table)
    assert (first["learning"], first["versus"], first["learning_n"]) == (0.03, "adamw", 3)
    assert (second["learning"], second["versus"], third["versus"]) == (None, None, None)
    assert table.content(shown_table)["versus"] == "adamw"
    for text in (table.as_markdown(shown_table), table.as_latex(shown_table).replace("$\\pm$", "±")):
        assert "+0.03 ±0.02" in text
    assert any("adamw" in note for note in shown_table.notes)


def test_differences_to_missing_values_say_why_and_a_rounded_zero_has_no_minus() -> None:
    muon, diverged = learning("muon", BASE), row("adamw", lr=None)
    column = report_with([muon, diverged]).table.heads().index("learning ↑")
    assert report_with([muon, diverged], versus="adamw").table.cells()[0][column] == "diverged"
    assert report_with([muon, learning("adamw", [])], versus="adamw").table.cells()[0][column] == "not reached"
    slightly_lower = learning("muon", [value - 0.001 for value in BASE])
    assert "+0.00 ±0.00" in report_with([slightly_lower, learning("adamw", BASE)], versus="adamw").table.cells()[0]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def scores_of(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.1 * run.seed + (0.25 if run.optimizer.name == "muon" else 0.0)}

    return synthetic_results.write(tmp_path_factory.mktemp("results"), scores_of)


def test_the_command_has_these_options_in_every_format_and_on_a_page(call: Caller, out: Path, tmp_path: Path) -> None:
    options = f"--out {out} --sort learning --columns learning,validation_learning --versus adamw"
    code, text, _ = call(f"report {options} --format csv")
    assert code == 0
    records = list(csv.DictReader(io.StringIO(text)))
    assert [(record["optimizer"], record["trainable"], record["learning"]) for record in records] == [
        ("muon", "full", "0.25"), ("muon", "lora-4", "0.25"), ("adamw", "full", ""), ("adamw", "lora-4", ""),
    ]  # fmt: skip
    for form in ("table", "markdown", "json", "latex"):
        code, text, _ = call(f"report {options} --format {form}")
        assert code == 0
        assert "0.25" in text
    page = tmp_path / "page.md"
    page.write_text("<!-- BEGIN synthbench tiny-runner -->\n<!-- END synthbench tiny-runner -->\n")
    assert call(f"report {options} --into {page}").code == 0
    assert "+0.25 ±0.23" in page.read_text()  # Welch's: each pretrained its own base


@each(
    ("options", "pattern"),
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
def test_a_mistake_is_one_sentence(options: str, pattern: str, call: Caller, out: Path) -> None:
    code, text, err = call(f"report --out {out} {options}")
    assert (code, text, len(err.splitlines())) == (2, "", 1)
    assert re.search(pattern, err)


def test_ranks_and_the_command_that_completes_them_are_reported(call: Caller, tmp_path: Path) -> None:
    def scores_of(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.01 * (run.seed % 3) + (0.25 if run.optimizer.name == "muon" else 0.0)}

    out = synthetic_results.write(
        tmp_path / "results", scores_of, "rank=learning", seeds=8, optimizers=["adamw", "muon"]
    )
    synthetic_results.write(out, scores_of, "rank=learning", seeds=3, optimizers=["sgd"])
    synthetic_results.write(out, scores_of, "rank=learning", seeds=8, optimizers=["muon"])
    code, text, _ = call(f"report --out {out} --format csv --columns learning")
    assert code == 0
    records = list(csv.DictReader(io.StringIO(text)))
    ranks = {
        (record["optimizer"], record["trainable"]): (record["rank_first"], record["rank_last"]) for record in records
    }
    assert ranks == {
        ("adamw", "full"): ("3", "4"), ("adamw", "lora-4"): ("3", "4"), ("muon", "full"): ("1", "2"),
        ("muon", "lora-4"): ("1", "2"), ("sgd", "full"): ("", ""), ("sgd", "lora-4"): ("", ""),
    }  # fmt: skip
    assert [record["optimizer"] for record in records] == ["muon", "muon", "sgd", "sgd", "adamw", "adamw"]
    assert [float(record["behind"]) for record in records[4:]] == [0.25, 0.25]
    text_of_report = call(f"report --out {out}").out
    assert "sgd full (3 of 8 seeds), sgd lora-4 (3 of 8 seeds)" in text_of_report
    (note,) = [line for line in text_of_report.splitlines() if ": synthbench run " in line]
    assert note.endswith(f"--optimizer sgd --update full,lora-4 --out {out}")
