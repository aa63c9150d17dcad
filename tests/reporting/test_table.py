"""A table in every format: equal numbers, at most 100 columns, inert names."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from rich.console import Console

from synthbench.analysis.ranks import Rank
from synthbench.analysis.statistics import Interval
from synthbench.reporting import table
from tests.analysis.example_rows import CARD, row
from tests.each import each

READINGS = {
    "fact_recall": [0.95, 0.93, 0.945], "rule_accuracy@fit": [0.2049, 0.305, 0.4051], "rote_gap@fit": [-0.1, 0.2, 0.455],
    "forgetting@fit": [0.125, 0.375, 0.3333], "learning": [0.7, 0.71, 0.72],
}  # fmt: skip


def example_table() -> table.Table:
    rows = [row("muon", readings=READINGS), row("muon", "lora-16"), row("adamw", reference=True), row("sgd", lr=None)]
    return table.Table(rows, CARD.columns, title="quick", notes=["a note"])


def numbers(text: str) -> list[tuple[str, ...]]:
    """`0.52 ±0.09` as ("0.52", "0.09"), in order."""
    return re.findall(r"(-?\d\.\d\d) (?:±|\$\\pm\$)(\d\.\d\d)", text)


def terminal_text(shown_table: table.Table, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.as_rich(shown_table))
    return console.export_text()


def test_all_formats_have_equal_numbers() -> None:
    shown_table = example_table()
    text = json.dumps(table.content(shown_table), allow_nan=False)
    records = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))["rows"]
    expected = [
        (f"{record[name]:.2f}", f"{round(record[name] - record[f'{name}_low'], 4):.2f}")
        for record in records for name in CARD.columns if record[name] is not None
    ]  # fmt: skip
    assert len(expected) == 15
    for text in (terminal_text(shown_table), table.as_markdown(shown_table), table.as_latex(shown_table)):
        assert numbers(text) == expected
    from_csv = list(csv.DictReader(io.StringIO(table.as_csv(shown_table))))
    for line, record in zip(from_csv, records, strict=True):
        for name in CARD.columns:
            assert line[name] == ("" if record[name] is None else str(record[name]))


def test_mean_and_interval_are_student_s() -> None:
    (record,) = table.records(table.Table([row("muon", readings={"learning": [0.1, 0.2, 0.6]})], ["learning"]))
    assert record["learning"] == 0.3
    assert record["learning_high"] == pytest.approx(0.3 + 4.302653 * 0.264575 / 3**0.5, abs=1e-4)
    assert record["learning_n"] == 3


def test_a_median_that_is_a_bound_is_marked_in_exports() -> None:
    """Of 80, >80 and >80 steps the median is >80; one of the three values is known."""
    steps = "steps_to_rule@t"

    def record(never: list[int]) -> dict[str, object]:
        marks = {steps: dict.fromkeys(never, ">")}
        late = row("muon").model_copy(update={"values": {steps: dict.fromkeys(range(3), 80.0)}, "censored": marks})
        (record,) = table.records(table.Table([late], [steps]))
        return {name: record[name] for name in (steps, f"{steps}_bound", f"{steps}_n")}

    assert record([1, 2]) == {steps: 80.0, f"{steps}_bound": ">", f"{steps}_n": 1}
    assert record([2]) == {steps: 80.0, f"{steps}_bound": "", f"{steps}_n": 2}
    without = table.records(table.Table([row("muon")], ["learning", steps]))[0]
    assert (without[steps], without[f"{steps}_bound"]) == (None, "")
    assert "learning_bound" not in without  # no other score has bounds


CUT = {"learning": [0.2, 0.9, 0.95], "rote_gap@fit": [-1.4, 1.8, 1.7], "forgetting@fit": [0.9, -0.8, 0.5]}


def test_an_interval_ends_where_the_score_s_range_does_in_every_format() -> None:
    cut = table.Table([row("muon", readings=CUT)], [*CUT])
    (record,) = table.records(cut)
    assert [(record[f"{name}_low"], record[f"{name}_high"]) for name in CUT] == [(0.0, 1.0), (-2.0, 2.0), (-1.0, 1.0)]
    assert cut.cells()[0][-3:] == ["0.68 [0.00, 1.00]", "0.70 [-2.00, 2.00]", "0.20 [-1.00, 1.00]"]
    for text in (table.as_markdown(cut).replace("\\", ""), table.as_latex(cut)):
        assert "0.68 [0.00, 1.00]" in text
    assert "0.68 [0.00,1.00]" in terminal_text(cut)
    assert ",0.6833,0.0,1.0,3," in table.as_csv(cut)


def test_an_interval_of_differences_ends_where_differences_do() -> None:
    cut = table.Table([row("muon", readings=CUT)], [*CUT], versus="adamw", rivals=[row("adamw")])
    (record,) = table.records(cut)
    assert [(record[f"{name}_low"], record[f"{name}_high"]) for name in CUT] == [
        (-0.8583, 1.0),
        (-4.0, 4.0),
        (-2.0, 1.9079),
    ]
    assert cut.cells()[0][-3] == "+0.18 [-0.86, +1.00]"


@each("values", [[0.999, 1.0, 1.0], [0.5, 0.5, 0.5], [0.3, 0.41, 0.47]])
def test_an_interval_that_is_not_visibly_cut_is_shown_by_its_half(values: list[float]) -> None:
    (cells,) = table.Table([row("muon", readings={"learning": values})], ["learning"]).cells()
    assert "±" in cells[-1]


RANKS = [Rank(1, 1, None), Rank(2, 3, Interval(0.1, 0.05, 0.15, 3)), None]


@each("ranks", [None, RANKS])
def test_the_table_fits_100_columns_with_reference_rows_edges_long_rates_and_ranks(ranks: list[Rank | None]) -> None:
    rows = [
        row("muon"),
        row("adamw", "lora-16", reference=True),
        row("sgd").model_copy(update={"lr": 0.00104, "edge": True}),
    ]
    text = terminal_text(table.Table(rows, CARD.columns, ranks=ranks, ranked_by="learning"))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("optimizer") == (2 if ranks else 1)
    assert len(numbers(text)) == 15 + (ranks is not None)
    assert "…" not in text


def test_direction_edge_reference_and_divergence_are_marked() -> None:
    text = table.as_markdown(example_table())
    assert "forgetting@fit ↓" in text
    assert "rule_accuracy@fit ↑" in text
    assert "adamw\\*" in text
    assert "9/9" in text
    assert "diverged" in text
    edge = table.Table([row("muon").model_copy(update={"edge": True})], ["learning"])
    assert "0.001!" in table.as_markdown(edge)


@each("width", [60, 80, 100, 200])
def test_nothing_is_cut_off_however_narrow_the_terminal(width: int) -> None:
    rows = [row("muon"), row("adamw", "lora-16", reference=True), row("a-plug-in-of-some-length", lr=None)]
    scores = [*CARD.columns, "skill_forgetting@fit", "loss_forgetting"]
    shown_table = table.Table(rows, scores, ranks=RANKS, ranked_by="learning")
    text = terminal_text(shown_table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert len(numbers(text)) == 2 * len(CARD.columns) + 1
    words = set(text.split())
    for head in shown_table.heads():
        parts = head.replace("@fit", " @fit").replace("_", " ", 1).split()
        assert words >= set(parts), head
    for line in shown_table.cells():
        assert set(" ".join(line[1:]).split()) <= words


def test_a_wide_table_continues_below_and_repeats_the_names_of_its_rows() -> None:
    text = terminal_text(example_table(), 80)
    heads = [line.split() for line in text.splitlines() if line.startswith("optimizer")]
    assert len(heads) == 2
    assert heads[0][:5] == ["optimizer", "update", "lr", "n", "diverged"]
    assert "lr" not in heads[1]
    assert text.count("lora-16") == 2
    assert len(terminal_text(example_table(), 100).split("optimizer")) == 2


def test_a_score_without_items_is_a_dash_and_an_unreached_one_says_so() -> None:
    reached, without_rule = row("adamw"), row("adamw")
    values_without_rule = {
        name: values for name, values in without_rule.values.items() if not name.startswith("rule_accuracy")
    }
    without_rule = without_rule.model_copy(update={"values": values_without_rule | {"rule_accuracy@fit": {}}})
    reached = reached.model_copy(update={"values": reached.values | {"rule_accuracy@fit": {}}})
    cells = table.Table([reached, without_rule], ["rule_accuracy@fit", "learning"]).cells()
    assert [cell[-2] for cell in cells] == ["not reached", "-"]
    two_seeds = table.Table([row("muon", readings={"learning": [0.5, 0.7]})], ["learning"])
    assert "n=2" in table.as_markdown(two_seeds)  # this score has fewer seeds


def test_bits_close_to_those_of_the_dataset_are_marked_as_the_ceiling() -> None:
    def table_with(stored: float) -> str:
        bits = {
            "bits_per_param": dict.fromkeys(range(3), stored),
            "dataset_bits_per_param": dict.fromkeys(range(3), 2.0),
        }
        bits_row = row("adamw").model_copy(update={"values": bits})
        return table.as_markdown(table.Table([bits_row], ["bits_per_param"]))

    assert "1.96 ±0.00 ceiling" in table_with(1.96)
    assert "ceiling" not in table_with(1.8)
