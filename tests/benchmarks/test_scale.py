"""The benchmark of scale runs, on a tiny study, and its page shows what was measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs import scale as pages
from tests.benchmarks import clustered, scale, studies

TINY = studies.Shape(1, 1, 1)


def of(part: str, runs: int, seconds: float) -> dict[str, Any]:
    return scale.Figure(part, runs, seconds, 1)._asdict()


def test_every_part_of_a_tiny_study_is_measured(tmp_path: Path) -> None:
    experiment = studies.study(tmp_path, TINY)
    studies.fill(tmp_path / "results", experiment)
    figures = [scale.measure(part, tmp_path, TINY) for part in scale.PARTS]
    assert {(figure.part, figure.runs) for figure in figures} == {(part, TINY.runs) for part in scale.PARTS}
    assert all(figure.seconds >= 0 and figure.megabytes > 0 for figure in figures)
    assert [*pages.LABELS] == [*scale.PARTS]
    text = pages.scale_page({"machine": scale.machine(), "figures": [figure._asdict() for figure in figures]})
    assert all(label in text for label in pages.LABELS.values())
    assert text.count("not measured") == 5
    assert "Not measured." in text


def test_slopes_are_between_the_two_largest_sizes() -> None:
    figures = [of("report", runs, seconds) for runs, seconds in ((1000, 9.0), (10_000, 2.0), (100_000, 20.0))]
    assert pages.slopes(figures) == {"report": (0.2, 1.0)}
    squared = [of("walk", runs, runs**2 / 1e6) for runs in (1000, 10_000)]
    assert pages.slopes(squared)["walk"][1] == 2.0
    assert pages.slopes(squared[:1]) == {}
    page = pages.scale_page({"machine": scale.machine(), "figures": figures})
    assert "| 0.2 " in page
    assert re.search(r"\| report +\| 5 s +\| 20 s +\| no ", page)


def test_figures_that_are_measured_again_take_the_place_of_the_old_ones() -> None:
    old = [of("export", 1000, 1.0), of("walk", 1000, 1.0), of("walk", 10_000, 1.0)]
    merged = scale.merged([scale.Figure("walk", 1000, 2.0, 1)], {"figures": old})
    assert [(one.part, one.runs, one.seconds) for one in merged] == [
        ("walk", 1000, 2.0), ("walk", 10_000, 1.0), ("export", 1000, 1.0),
    ]  # fmt: skip


def test_throughput_is_that_of_the_median_round() -> None:
    found = {
        "machine": scale.machine(),
        "version": "2",
        "command": "run",
        "local": [100, 100, 100],
        "ray": [80, 95, 99],
        "planned": [10, 11, 12],
        "seconds": [11, 12, 13],
    }
    text = "\n".join(pages.ray(found))
    assert "Median of the rounds: 0.95" in text
    assert "0.9 is aimed at, and met" in text
    assert "| 3       | 12 s      | 13 s   | 1.08             |" in text
    assert clustered.END.findall("14 runs, 840 run-steps in 4 s (210 run-steps/s).") == [("4", "210")]
    assert clustered.PLANNED.findall("quick: 10 runs\nabout 66 s, 0 % idle") == ["66"]


def test_the_shapes_have_the_runs_that_they_are_named_for() -> None:
    for runs, shape in studies.SHAPES.items():
        assert abs(shape.runs - runs) < 0.02 * runs
