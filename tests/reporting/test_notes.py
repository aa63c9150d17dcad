"""The lines below a table: a legend of two lines and a link; what is particular to the rows, each in its own line."""

from __future__ import annotations

from synthbench.analysis.rate_advice import of_cell
from synthbench.analysis.rows import Stopped
from synthbench.cards import RunnerCard, load, names
from synthbench.experiment.runs import Cell
from synthbench.reporting import notes
from synthbench.reporting.report import Report
from tests.each import each
from tests.reporting.made import CARD, row


@each("runner", names(RunnerCard))
def test_a_legend_is_two_lines_of_100_columns_and_a_link(runner: str) -> None:
    card = load(RunnerCard, runner)
    rows = [row("muon").model_copy(update={"edge": True}), row("adamw").model_copy(update={"size": 0.5})]
    *lines, link = notes.legend(rows, ["learning", "rule_accuracy@fit"], card)
    assert len(lines) == 2
    assert all(len(line) <= 100 for line in lines)
    assert all(part in lines[0] for part in ("95 % interval", "diverged / all runs", "!"))
    assert all(part in lines[1] for part in (f"{card.reading.fit:g}", f"step {card.reading.target_step} x size"))
    assert link == "Columns: docs/columns.md"


def test_a_legend_explains_only_what_the_table_has() -> None:
    (first, _) = notes.legend([row("muon")], ["learning"], CARD)
    assert "!" not in first
    assert not any("size" in line for line in notes.legend([row("muon")], ["rule_accuracy@fit"], CARD))


def test_what_is_particular_to_the_rows_follows_in_short_lines() -> None:
    diverged = Stopped(Cell("wugs", "pretrain", (), "sgd", "full", 0.0), [1, 4], entirely=False)
    found = Report("e", CARD, {}, "a command", [row("muon")], None, {}, finished=False, stopped=[diverged])
    *_, stopped, unfinished = found.table.notes
    assert stopped.startswith("Pretrain of sgd (wugs) diverged at seeds 1, 4;")
    assert unfinished.startswith("Unfinished: rerun the command")
    assert max(map(len, found.table.notes)) <= 100


def test_advice_names_the_rate_its_step_and_what_to_add() -> None:
    cell = Cell("wugs", "finetune", ("muon",), "muon", "full", 0.0, 1.0)
    found = of_cell(cell, [{3e-4: 49.0, 6e-4: 30.0}], CARD)
    assert notes.rate_advice([found], CARD) == [
        "muon (full) on wugs: no @fit value, every learning rate reaches fit 0.9 before the target step 100 "
        "(slowest rate 0.0003: step 49); add smaller rates (--lr)."
    ]
    *named, more = notes.rate_advice([found] * (notes.MOST_ADVICE + 2), CARD)
    assert (len(named), more) == (notes.MOST_ADVICE, "2 more rows have no @fit value.")
