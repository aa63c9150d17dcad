"""Lines below a table: the legend, notes on diverged, unfinished and incomplete rows, advice on learning rates."""

from __future__ import annotations

from pathlib import Path

from synthbench.analysis.pairing import Pair
from synthbench.analysis.rate_advice import of_cell
from synthbench.analysis.rows import Row, Stopped
from synthbench.cards import RunnerCard, load, names
from synthbench.experiment.runs import Cell
from synthbench.reporting import notes, report, table
from synthbench.reporting.report import Report
from tests.analysis.example_rows import CARD, on_device, row, row_around
from tests.each import each

CARD_WITH_RANKS = CARD.model_copy(update={"rank": "learning", "seeds": 8})


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
    crossed = of_cell(cell._replace(base=("adamw",), point=(("decay", 0.5),)), [{3e-4: 49.0, 6e-4: 30.0}], CARD)
    assert notes.rate_advice([crossed], CARD)[0].startswith("muon on adamw (full, decay 0.5) on wugs: no @fit value,")
    *sentences, summary = notes.rate_advice([advice] * (notes.MOST_ADVICE + 2), CARD)
    assert (len(sentences), summary) == (notes.MOST_ADVICE, "2 more rows have no @fit value.")


def report_with_ranks(rows: list[Row], rank: str | None = "learning", seeds: int = 8) -> Report:
    card = CARD.model_copy(update={"rank": rank, "seeds": seeds})
    command = "synthbench run quick --optimizer=adamw --seeds 8 --out there --set 'a.b=\"c d\"' --fresh --quiet"
    return Report("e", card, {"rote-vs-rule": "f"}, command, rows, None, {}, folder=Path("a folder"))


def test_a_table_has_ranks_only_where_its_card_names_a_score_and_has_eight_seeds() -> None:
    """Rows are sorted by the score; one without a rank stands where its mean is."""
    rows = [row_around(0.4, "adamw"), row_around(0.9, "muon"), row("sgd", seeds=5)]
    with_ranks = report_with_ranks(rows).table
    assert [cells[:1] + cells[2:4] for cells in with_ranks.cells()] == [
        ["muon", "1", "-"], ["sgd", "-", "-"], ["adamw", "2", "+0.50 ±0.00"],
    ]  # fmt: skip
    records = table.records(with_ranks)
    assert [(record["rank_first"], record["rank_last"]) for record in records] == [(1, 1), (None, None), (2, 2)]
    assert [record["behind"] for record in records] == [None, None, 0.5]
    assert records[2]["behind_high"] > 0.5 > records[2]["behind_low"]
    assert "| rank" in table.as_markdown(with_ranks)
    for without_ranks in (report_with_ranks(rows, rank=None), report_with_ranks(rows, seeds=7)):
        assert not {"rank", "behind"} & set(without_ranks.table.heads())
        assert "behind" not in table.as_csv(without_ranks.table).splitlines()[0].split(",")
        assert [row.optimizer for row in without_ranks.table.rows] == ["adamw", "muon", "sgd"]
    assert any("learning" in note and "8 seeds" in note for note in report_with_ranks(rows, seeds=7).table.notes)


def test_a_note_names_the_rows_that_are_unpaired_with_their_rivals() -> None:
    rows = [row("muon"), row("sgd"), row("adamw")]
    pairs = [Pair(rows[0], rows[2]), Pair(on_device("another", rows[1]), rows[2])]
    assert ", paired over seeds (unpaired: sgd full) (" in notes.versus("adamw", pairs, rows)
    assert ", unpaired (" in notes.versus("adamw", pairs[1:], rows)
    assert ", paired over seeds (-" in notes.versus("adamw", pairs[:1], rows)


def test_a_note_names_incomplete_rows_and_the_command_that_completes_them() -> None:
    rows = [row_around(0.9, "muon"), row("sgd", "lora-16", seeds=5), row("sgd", "lora-8", seeds=8, lr=None)]
    notes_of_table = report_with_ranks(rows).table.notes
    lacking = "sgd lora-16 (5 of 8 seeds), sgd lora-8 (diverged)"
    assert any(lacking in note for note in notes_of_table)
    assert lacking in report.markdown(report_with_ranks(rows))
    command = "synthbench run quick --seeds 8 --set 'a.b=\"c d\"' --optimizer sgd --update lora-16 --out 'a folder'"
    assert notes_of_table[-1].endswith(command)
    assert not any(note.startswith(notes.COMPLETE) for note in report_with_ranks(rows[:1]).table.notes)


@each("command", ["synthbench run 'quick", "synthbench run --out"])
def test_an_unreadable_command_is_shown_unchanged(command: str) -> None:
    assert notes.completing(command, [row("sgd")], CARD_WITH_RANKS, Path("x")) == command


def test_a_row_is_completed_under_the_optimizer_of_its_base() -> None:
    crossed = row("muon", seeds=5).model_copy(update={"base": ["adamw"]})
    assert "--optimizer adamw " in notes.completing("synthbench run quick", [crossed], CARD_WITH_RANKS, None)
