"""What a check found, as people, GitHub and test reports read it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from synthbench.gate import compared, written
from synthbench.gate.check import Checked


def test_numbers_and_sentences() -> None:
    line = compared.Line("full", "learning", "could not tell", 0.1, 0.2, 16, seeds=40.0)
    assert written.seeds(line) == " (about 40 seeds would)"
    assert written.seeds(line._replace(seeds=float("inf"))) == " (over 1000 seeds would)"
    assert written.number(float("nan")) == "-"
    assert compared.overall([]) == "could not tell"
    assert compared.overall([line, line._replace(verdict="changed")]) == "changed"


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [([], [], "unchanged"), ([3], [3], "unchanged"), ([], [1], "could not tell"), ([], [0, 1, 2, 3, 4, 5], "changed")],
)
def test_seeds_that_diverge_are_counted(before: list[int], after: list[int], verdict: str) -> None:
    assert compared.diverged("full", before, after, 16).verdict == verdict


def test_an_annotation_tells_the_verdict_and_others_the_worst_lines_as_many_as_are_shown() -> None:
    lines = [compared.Line("full", f"score {k}", "changed", float(k), 1.0, 16) for k in range(2, 32)]
    fine = compared.Line("full", "fine", "unchanged", 0.0, 1.0, 16)
    told = written.as_github(Checked("b.json", "adamw", "behaviour", [fine, *lines], "A cause.", [], "Do this."))
    first, *others = told.splitlines()
    assert first.startswith("::error title=synthbench::Changed: adamw against b.json")
    assert first.endswith("A cause. Do this.")
    assert len(others) == 9
    assert others[0].startswith("::error title=synthbench score 31::")


def test_a_report_of_tests_has_the_verdict_and_what_to_do() -> None:
    line = compared.Line("full", "learning", "changed", 2.0, 1.0, 16)
    report = written.as_junit(Checked("b.json", "adamw", "behaviour", [line], "A cause.", ["A note."], "Do this."))
    said = ElementTree.fromstring(report).findtext("system-out")
    assert said is not None
    assert said.startswith("Changed: adamw against b.json")
    assert said.endswith("A note.\nA cause.\nDo this.")
