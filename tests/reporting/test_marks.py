"""Colours, markers and names in figures, and which rows they show."""

from __future__ import annotations

from tests.reporting.test_figures import RATES, ROWS, draw, full_row, marks, points


def test_optimizers_have_distinct_colours_and_updates_distinct_markers() -> None:
    figure = draw("front", ROWS)
    assert {line.get_color() for line in figure.axes[0].lines if line.get_marker() == "None"} == {"#0072B2", "#D55E00"}
    assert {line.get_marker() for line in figure.axes[0].lines} == {"None", "o", "^"}
    plug_ins = marks.Marks([full_row(name) for name in ("adamw", "x.py:One", "x.py:Other")])
    assert len({plug_ins.colour(full_row(name)) for name in ("adamw", "x.py:One", "x.py:Other")}) == 3


def test_variants_have_the_colour_of_their_optimizer_and_no_rates_on_the_front() -> None:
    variant = full_row("adamw-aux-03", base=["adamw"], variant_of="adamw-split")
    assert marks.Marks([variant]).colour(variant) == marks.COLOURS["adamw"]
    assert len(points(draw("front", [ROWS[0], variant]))) == len(RATES)  # the variant adds none


def test_a_variant_where_nothing_is_pretrained_has_the_colour_of_its_optimizer() -> None:
    variant = full_row("adamw-again", base=[], variant_of="adamw")
    assert marks.Marks([variant]).colour(variant) == marks.COLOURS["adamw"]


def test_the_farther_a_row_is_on_an_axis_the_darker_is_the_colour_of_its_optimizer() -> None:
    """Values in any order; legends name them from the least on."""
    rows = [full_row("adamw", axes={"d": value}) for value in (6, 0, 1)]
    shades = marks.Marks(rows)
    assert shades.colour(rows[0]) == marks.COLOURS["adamw"]
    assert shades.colour(rows[1]) == "#B2D5E8"  # seven tenths of white
    assert [name for name, _ in shades.colours(rows)] == ["adamw, d 0", "adamw, d 1", "adamw, d 6"]
    assert len({shades.colour(row) for row in rows}) == 3


def test_figures_of_plain_rows_leave_out_what_starts_from_a_variant_s_model() -> None:
    rows = [full_row("adamw"), full_row("adamw-again", variant_of="adamw"), full_row("adamw", base=["adamw-again"])]
    assert marks.plain(rows) == rows[:1]
    assert marks.plain(rows[1:2]) == rows[1:2]
