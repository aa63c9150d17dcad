"""Scores of a whole path and of the look after relearning, worked out by hand."""

from __future__ import annotations

from math import isnan

import pytest

from synthbench.scores import Point, RunObservations, run_scores
from synthbench.scores.forgetting import forgetting_from_peak
from synthbench.scores.relearning import relearning_savings
from tests.each import each
from tests.scores.seen import point, seen


def path(*forgotten: float | None) -> dict[int, dict[str, float]]:
    return {10 * i: {} if value is None else {"forgetting": value} for i, value in enumerate(forgotten)}


@each(
    ("forgotten", "lost"),
    [
        ([0.0, 0.25, 0.75], 0.75),  # the start is the peak
        ([0.0, -0.25, 0.5], 0.75),  # it got better before it got worse: the peak is .25 above the start
        ([0.0, 0.5, 0.75, 0.25], 0.25),  # what came back is not lost
        ([0.0, 0.5, -0.25], 0.0),  # the end is the peak
        ([0.0], 0.0),
    ],
)
def test_forgetting_from_the_peak_is_the_best_of_the_path_less_its_end(forgotten: list[float], lost: float) -> None:
    assert forgetting_from_peak(path(*forgotten)) == pytest.approx(lost)
    assert forgetting_from_peak(dict(reversed(path(*forgotten).items()))) == pytest.approx(
        lost
    )  # by step, not by order


@each("forgotten", [[], [None], [0.0, None, 0.5], [0.0, float("nan"), 0.5]])
def test_a_path_on_which_forgetting_was_not_measured_has_no_peak(forgotten: list[float | None]) -> None:
    assert isnan(forgetting_from_peak(path(*forgotten)))


def test_a_run_is_read_from_its_peak_on_the_sample() -> None:
    """Of the first two of four facts, one is known at the start, both on the way, none at the end; of all four, two and
    two. From the peak: 1 - 0 on the sample; forgetting: 2 / 4 - 2 / 4 on all."""
    new = {"new/rule/train": seen("+"), "new/rule/test": seen("+")}
    start = point({"old/fact/train": seen("+--+")} | new)
    way = point({"old/fact/train": seen("++")} | new)
    end = point({"old/fact/train": seen("--++")} | new)
    found, ends = run_scores(RunObservations(start, {5: way}, end, sample=2, steps=10))
    assert [found[step]["forgetting"] for step in (0, 5, 10)] == [0.0, -0.5, 0.5]
    assert ends["forgetting_from_peak"] == 1.0
    assert ends["forgetting"] == 0.0


def probe(other: tuple[str, str], control: tuple[str, str]) -> Point:
    looks = zip(("before", "after"), other, control, strict=True)
    return point({f"{name}/{when}": seen(text) for when, *both in looks for name, text in
                  zip(("other", "control"), both, strict=True)})  # fmt: skip


@each(
    ("other", "control", "saved"),
    [
        (("----", "++--"), ("--------", "-------+"), 2 / 4 - 1 / 8),
        (("----", "----"), ("----", "++--"), -0.5),  # relearning helped facts that were never known more
        (("+---", "++++"), ("+-", "+-"), 0.75),  # what was right before relearning is not saved by it
        (("----", "++++"), ("----", "++++"), 0.0),  # everything is answered: nothing about what was lost
    ],
)
def test_savings_are_what_the_other_half_gained_less_what_facts_never_trained_gained(
    other: tuple[str, str], control: tuple[str, str], saved: float
) -> None:
    assert relearning_savings(probe(other, control)) == pytest.approx(saved)


def test_a_run_that_lost_nothing_was_not_relearned_and_has_no_savings() -> None:
    start = point({"old/fact/train": seen("++"), "new/rule/test": seen("+"), "new/rule/train": seen("+")})
    assert "relearning_savings" not in run_scores(RunObservations(start, {}, start, 2, 10))[1]
    with_probe = RunObservations(start, {}, start, 2, 10, probe(("--", "+-"), ("--", "--")))
    assert run_scores(with_probe)[1]["relearning_savings"] == 0.5
    assert "relearning_savings" not in run_scores(with_probe)[0][10]  # nor is it on the path
