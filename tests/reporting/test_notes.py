"""Lines below a table: the legend, notes on diverged, unfinished and incomplete rows, advice on learning rates."""

from __future__ import annotations

from pathlib import Path

from synthbench.analysis.rate_advice import of_cell
from synthbench.analysis.rows import Row, Stopped
from synthbench.cards import RunnerCard, load, names
from synthbench.experiment.runs import Cell
from synthbench.reporting import notes, report, table
from synthbench.reporting.report import Report
from tests.analysis.example_rows import CARD, row, row_around
from tests.each import each

CARD_WITH_TIERS = CARD.model_copy(update={"tier": "learning", "seeds": 8})


@each("runner", names(RunnerCard))
def test_a_legend_is_two_lines_of_100_columns_and_a_link(runner: str) -> None:
    card = load(RunnerCard, runner)
    rows = [row("muon").model_copy(update={"edge": True}), row("adamw").model_copy(update={"size": 0.5})]
    *lines, link = notes.legend(table.Table(rows, ["learning", "rule_accuracy@fit"]), card)
    assert len(lines) == 2
    assert all(len(line) <= 100 for line in lines)
    assert all(phrase in lines[0] for phrase in ("95 % interval", "diverged / all runs", "!"))
    assert all(phrase in lines[1] for phrase in (f"{card.reading.fit:g}", f"step {card.reading.target_step} x size"))
    assert link == "Columns: docs/columns.md"


def test_a_legend_explains_only_what_the_table_has() -> None:
    (first, _) = notes.legend(table.Table([row("muon")], ["learning"]), CARD)
    assert "!" not in first
    of_fit = table.Table([row("muon")], ["rule_accuracy@fit"])
    assert not any("size" in line for line in notes.legend(of_fit, CARD))
    of_all = notes.legend(table.Table([row("muon")], ["fit@steps", "forgetting@fits", "forgetting@fit"]), CARD)
    assert [line.partition(":")[0] for line in of_all[1:-1]] == ["@fit", "@fits", "@steps"]
    assert [line.endswith("; others: last step") for line in of_all[1:-1]] == [False, False, True]
    assert all(len(line) <= 100 for line in of_all)
    cut = table.Table([row("muon", readings={"learning": [0.9, 0.95, 1.0]})], ["learning"])
    assert "[low, high]" in notes.legend(cut, CARD)[0]
    assert "[low, high]" not in first


def test_notes_on_these_rows_follow_the_legend() -> None:
    diverged = Stopped(Cell("wugs", "pretrain", (), "sgd", "full", 0.0), [1, 4], entirely=False)
    unfinished_report = Report("e", CARD, {}, "a command", [row("muon")], None, {}, finished=False, stopped=[diverged])
    *_, stopped, unfinished = unfinished_report.table.notes
    assert stopped.startswith("Pretrain of sgd (wugs) diverged at seeds 1, 4;")
    assert unfinished.startswith("Unfinished: rerun the command")
    assert max(map(len, unfinished_report.table.notes)) <= 100


def test_advice_names_the_rate_its_step_and_what_to_add() -> None:
    cell = Cell("wugs", "finetune", ("muon",), "muon", "full", 0.0, 1.0)
    advice = of_cell(cell, [{3e-4: 49.0, 6e-4: 30.0}], CARD)
    assert notes.rate_advice([advice], CARD) == [
        "muon (full) on wugs: no @fit value, every learning rate reaches fit 0.9 before the target step 100 "
        "(slowest rate 0.0003: step 49); add smaller rates (--lr)."
    ]
    *sentences, summary = notes.rate_advice([advice] * (notes.MOST_ADVICE + 2), CARD)
    assert (len(sentences), summary) == (notes.MOST_ADVICE, "2 more rows have no @fit value.")


def report_with_tiers(rows: list[Row], tier: str | None = "learning", seeds: int = 8) -> Report:
    card = CARD.model_copy(update={"tier": tier, "seeds": seeds})
    command = "synthbench run quick --optimizer=adamw --seeds 8 --out there --set 'a.b=\"c d\"' --fresh --quiet"
    return Report("e", card, {"rote-vs-rule": "f"}, command, rows, None, {}, folder=Path("a folder"))


def test_a_table_has_tiers_only_where_its_card_names_a_score_and_has_eight_seeds() -> None:
    rows = [row_around(0.5, "adamw"), row_around(0.9, "muon"), row("sgd", seeds=5)]
    with_tiers = report_with_tiers(rows).table
    assert [cells[2] for cells in with_tiers.cells()] == ["2", "1", "-"]
    assert [record["tier"] for record in table.records(with_tiers)] == [2, 1, None]
    assert "| tier" in table.as_markdown(with_tiers)
    for without_tiers in (report_with_tiers(rows, tier=None), report_with_tiers(rows, seeds=7)):
        assert "tier" not in without_tiers.table.heads()
        assert "tier" not in table.as_csv(without_tiers.table).splitlines()[0].split(",")
    assert any("learning" in note and "8 seeds" in note for note in report_with_tiers(rows, seeds=7).table.notes)


def test_a_note_names_incomplete_rows_and_the_command_that_completes_them() -> None:
    rows = [row_around(0.9, "muon"), row("sgd", "lora-16", seeds=5), row("sgd", "lora-8", seeds=8, lr=None)]
    notes_of_table = report_with_tiers(rows).table.notes
    lacking = "sgd lora-16 (5 of 8 seeds), sgd lora-8 (diverged)"
    assert any(lacking in note for note in notes_of_table)
    assert lacking in report.markdown(report_with_tiers(rows))
    command = "synthbench run quick --seeds 8 --set 'a.b=\"c d\"' --optimizer sgd --update lora-16 --out 'a folder'"
    assert notes_of_table[-1].endswith(command)
    assert not any(note.startswith(notes.COMPLETE) for note in report_with_tiers(rows[:1]).table.notes)


@each("command", ["synthbench run 'quick", "synthbench run --out"])
def test_an_unreadable_command_is_shown_unchanged(command: str) -> None:
    assert notes.completing(command, [row("sgd")], CARD_WITH_TIERS, Path("x")) == command


def test_a_row_is_completed_under_the_optimizer_of_its_base() -> None:
    crossed = row("muon", seeds=5).model_copy(update={"base": ["adamw"]})
    assert "--optimizer adamw " in notes.completing("synthbench run quick", [crossed], CARD_WITH_TIERS, None)
