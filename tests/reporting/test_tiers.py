"""Tiers: 1 + the rows of a task that are significantly better; none for a row that lacks something."""

from __future__ import annotations

from pathlib import Path

from synthbench.analysis import tiers
from synthbench.analysis.rows import Row
from synthbench.reporting import notes, report, table
from synthbench.reporting.report import Report
from tests.each import each
from tests.reporting.made import CARD, row

SEEDS = list(range(8))
NOISE = [0.01, -0.01, 0.02, -0.02, 0.0, 0.005, -0.005, 0.015]
RANKED = CARD.model_copy(update={"tier": "learning", "seeds": 8})


def at(mean: float, optimizer: str, update: str = "full", score: str = "learning", turned: bool = False) -> Row:
    """A row whose score lies around a mean; `turned` its seeds go the other way."""
    values = [mean + one for one in (reversed(NOISE) if turned else NOISE)]
    return row(optimizer, update, {score: values}, seeds=8)


def test_rows_that_do_not_differ_for_certain_share_a_tier() -> None:
    rows = [at(0.5, "adamw"), at(0.9, "muon"), at(0.505, "sgd", turned=True), at(0.7, "muon", "lora-16")]
    assert tiers.tiers(rows, "learning", SEEDS) == [3, 1, 3, 2]
    rows = [at(0.5, "adamw"), at(0.5, "sgd"), at(0.5001, "muon")]  # identical, and a constant difference
    assert tiers.tiers(rows, "learning", SEEDS) == [2, 2, 1]
    rows = [at(0.5, "adamw", score="forgetting@fit"), at(0.9, "muon", score="forgetting@fit")]  # to keep low
    assert tiers.tiers(rows, "forgetting@fit", SEEDS) == [1, 2]


def test_holm_takes_all_pairs_of_a_task_and_no_other_s() -> None:
    """p = .045 of one pair stands alone, and not among the three pairs of three rows."""
    generator = [0.9, 0.2, 1.4, -0.5, 1.1, 0.1, 1.7, 0.35]
    own = row("muon", readings={"learning": generator}, seeds=8)
    other = row("adamw", readings={"learning": [0.0] * 8}, seeds=8)
    third = row("sgd", readings={"learning": [one - 0.05 for one in generator[::-1]]}, seeds=8)
    assert tiers.tiers([own, other], "learning", SEEDS) == [1, 2]
    assert tiers.tiers([own, other, third], "learning", SEEDS) == [1, 1, 1]
    elsewhere = third.model_copy(update={"task": "another"})
    assert tiers.tiers([own, other, elsewhere], "learning", SEEDS) == [1, 2, 1]


@each(
    ("lacking", "why"),
    [
        (row("sgd", seeds=5), "5 of 8 seeds"),
        (row("sgd", seeds=8, lr=None), "diverged"),
        (row("sgd", seeds=8, reference=True), "a reference row"),
        (row("sgd", seeds=8, readings={"learning": [0.5] * 7}), "diverged at 1 of 8 seeds"),
    ],
)
def test_a_row_that_lacks_something_has_no_tier_and_counts_in_no_other_s(lacking: Row, why: str) -> None:
    rows = [at(0.5, "adamw"), at(0.9, "muon"), lacking]
    assert tiers.lacking(lacking, "learning", SEEDS) == why
    assert tiers.tiers(rows, "learning", SEEDS) == [2, 1, None]


def test_a_reading_that_too_few_seeds_reach_has_no_tier() -> None:
    found = row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 6})
    assert tiers.lacking(found, "forgetting@fit", SEEDS) == "not reached"
    assert tiers.lacking(row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 7}), "forgetting@fit", SEEDS) is None


def shown(rows: list[Row], tier: str | None = "learning", seeds: int = 8) -> Report:
    card = CARD.model_copy(update={"tier": tier, "seeds": seeds})
    command = "synthbench run quick --optimizer=adamw --seeds 8 --out there --set 'a.b=\"c d\"' --fresh --quiet"
    return Report("e", card, {"rote-vs-rule": "f"}, command, rows, None, {}, folder=Path("a folder"))


def test_a_table_has_tiers_only_where_its_card_names_a_score_and_has_eight_seeds() -> None:
    rows = [at(0.5, "adamw"), at(0.9, "muon"), row("sgd", seeds=5)]
    found = shown(rows).table
    assert [line[2] for line in found.cells()] == ["2", "1", "-"]
    assert [record["tier"] for record in table.records(found)] == [2, 1, None]
    assert "| tier" in table.as_markdown(found)
    for other in (shown(rows, tier=None), shown(rows, seeds=7)):
        assert "tier" not in other.table.heads()
        assert "tier" not in table.as_csv(other.table).splitlines()[0].split(",")
    assert any("learning" in note and "8 seeds" in note for note in shown(rows, seeds=7).table.notes)


def test_a_note_gives_the_command_that_completes_the_rows() -> None:
    rows = [at(0.9, "muon"), row("sgd", "lora-16", seeds=5), row("sgd", "lora-8", seeds=8, lr=None)]
    lines = shown(rows).table.notes
    lacking = "sgd lora-16 (5 of 8 seeds), sgd lora-8 (diverged)"
    assert any(lacking in note for note in lines)
    assert lacking in report.markdown(shown(rows))
    wanted = "synthbench run quick --seeds 8 --set 'a.b=\"c d\"' --optimizer sgd --update lora-16 --out 'a folder'"
    assert lines[-1].endswith(wanted)
    assert not any(note.startswith(notes.COMPLETE) for note in shown(rows[:1]).table.notes)


@each("command", ["synthbench run 'quick", "synthbench run --out"])
def test_a_command_that_cannot_be_read_is_shown_as_it_is(command: str) -> None:
    assert notes.completing(command, [row("sgd")], RANKED, Path("x")) == command


def test_what_finetunes_another_s_model_is_completed_under_the_optimizer_that_pretrains() -> None:
    crossed = row("muon", seeds=5).model_copy(update={"base": ["adamw"]})
    assert "--optimizer adamw " in notes.completing("synthbench run quick", [crossed], RANKED, None)
