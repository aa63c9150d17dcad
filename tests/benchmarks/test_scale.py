"""The benchmark of scale runs, on a tiny study, and its page shows what was measured."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import scale, studies

TINY = studies.Shape(1, 1, 1)


def test_every_part_of_a_tiny_study_is_measured(tmp_path: Path) -> None:
    experiment = studies.study(tmp_path, TINY)
    studies.fill(tmp_path / "results", experiment)
    figures = [scale.measure(part, tmp_path, TINY) for part in scale.PARTS]
    assert {(figure.part, figure.runs) for figure in figures} == {(part, TINY.runs) for part in scale.PARTS}
    assert all(figure.seconds >= 0 and figure.megabytes > 0 for figure in figures)
    text = scale.page(figures, "a device")
    assert all(label in text for label in scale.LABELS.values())


def test_slopes_are_between_the_two_largest_sizes() -> None:
    figures = [
        scale.Figure("report", runs, seconds, 1) for runs, seconds in ((1000, 9.0), (10_000, 2.0), (100_000, 20.0))
    ]
    assert scale.slopes(figures) == {"report": (0.2, 1.0)}
    squared = [scale.Figure("walk", runs, runs**2 / 1e6, 1) for runs in (1000, 10_000)]
    assert scale.slopes(squared)["walk"][1] == 2.0
    assert scale.slopes(squared[:1]) == {}
    assert "| 0.2 " in scale.page(figures, "a device")


def test_the_shapes_have_the_runs_that_they_are_named_for() -> None:
    for runs, shape in studies.SHAPES.items():
        assert abs(shape.runs - runs) < 0.02 * runs
