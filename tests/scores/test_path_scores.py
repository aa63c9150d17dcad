"""Scores of a path and of the relearning probe, by hand."""

from __future__ import annotations

from math import isnan

import pytest

from synthbench.scores import Point, RunObservations, run_scores
from synthbench.scores.forgetting import forgetting_from_peak
from synthbench.scores.relearning import relearning_savings
from tests.each import each
from tests.scores.example_observations import observed, point


def path(*forgetting: float | None) -> dict[int, dict[str, float]]:
    return {10 * i: {} if value is None else {"forgetting": value} for i, value in enumerate(forgetting)}


@each(
    ("forgetting", "expected"),
    [
        ([0.0, 0.25, 0.75], 0.75),  # the start is the peak
        ([0.0, -0.25, 0.5], 0.75),  # the peak is 0.25 above the start
        ([0.0, 0.5, 0.75, 0.25], 0.25),  # the path recovers before its end
        ([0.0, 0.5, -0.25], 0.0),  # the end is the peak
        ([0.0], 0.0),
    ],
)
def test_forgetting_from_the_peak_is_the_maximum_of_the_path_minus_its_end(
    forgetting: list[float], expected: float
) -> None:
    assert forgetting_from_peak(path(*forgetting)) == pytest.approx(expected)
    by_decreasing_step = dict(reversed(path(*forgetting).items()))
    assert forgetting_from_peak(by_decreasing_step) == pytest.approx(expected)


@each("forgetting", [[], [None], [0.0, None, 0.5], [0.0, float("nan"), 0.5]])
def test_a_path_with_missing_forgetting_has_no_peak(forgetting: list[float | None]) -> None:
    assert isnan(forgetting_from_peak(path(*forgetting)))


def test_the_path_of_a_run_is_scored_on_the_sample() -> None:
    """The sample is the first two of four facts: one is known at the start, both halfway, none at the end. Of all four,
    two are known at the start and at the end. Forgetting from the peak is 1 - 0 on the sample; forgetting is 0 on all."""
    new_sets = {"new/rule/train": observed("+"), "new/rule/test": observed("+")}
    start = point({"old/fact/train": observed("+--+")} | new_sets)
    halfway = point({"old/fact/train": observed("++")} | new_sets)
    end = point({"old/fact/train": observed("--++")} | new_sets)
    path, scores = run_scores(RunObservations(start, {5: halfway}, end, sample=2, steps=10))
    assert [path[step]["forgetting"] for step in (0, 5, 10)] == [0.0, -0.5, 0.5]
    assert scores["forgetting_from_peak"] == 1.0
    assert scores["forgetting"] == 0.0


def probe(other: tuple[str, str], control: tuple[str, str]) -> Point:
    by_time = zip(("before", "after"), other, control, strict=True)
    return point({f"{name}/{when}": observed(text) for when, *answers in by_time for name, text in
                  zip(("other", "control"), answers, strict=True)})  # fmt: skip


@each(
    ("other", "control", "expected"),
    [
        (("----", "++--"), ("--------", "-------+"), 2 / 4 - 1 / 8),
        (("----", "----"), ("----", "++--"), -0.5),  # the control facts gain more
        (("+---", "++++"), ("+-", "+-"), 0.75),  # answers that are correct before relearning are no gain
        (("----", "++++"), ("----", "++++"), 0.0),  # the control facts gain as much
    ],
)
def test_savings_are_the_gain_of_the_other_half_minus_the_gain_of_new_facts(
    other: tuple[str, str], control: tuple[str, str], expected: float
) -> None:
    assert relearning_savings(probe(other, control)) == pytest.approx(expected)


def test_a_run_without_relearning_has_no_savings() -> None:
    start = point({"old/fact/train": observed("++"), "new/rule/test": observed("+"), "new/rule/train": observed("+")})
    assert "relearning_savings" not in run_scores(RunObservations(start, {}, start, 2, 10))[1]
    with_probe = RunObservations(start, {}, start, 2, 10, probe(("--", "+-"), ("--", "--")))
    assert run_scores(with_probe)[1]["relearning_savings"] == 0.5
    assert "relearning_savings" not in run_scores(with_probe)[0][10]  # the path has no probe


def test_points_of_one_path_may_have_samples_of_different_size() -> None:
    """Each is compared with the start on its own items: of five facts the start knows the first and the last two."""
    new_sets = {"new/rule/train": observed("+"), "new/rule/test": observed("+")}
    facts = {3: "--", 5: "----+", 7: "+-"}
    start, end = (point({"old/fact/train": observed(text)} | new_sets) for text in ("+--++", "-----"))
    path = {step: point({"old/fact/train": observed(text)} | new_sets) for step, text in facts.items()}
    scored, _ = run_scores(RunObservations(start, path, end, sample=4, steps=10))
    assert {step: scores["forgetting"] for step, scores in scored.items()} == pytest.approx(
        {0: 0.0, 3: 1 / 2 - 0, 5: 3 / 5 - 1 / 5, 7: 0.0, 10: 2 / 4}
    )
