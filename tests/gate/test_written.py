"""What a check found, as people, GitHub and test reports read it."""

from __future__ import annotations

from xml.etree import ElementTree

from synthbench.gate import compared, written
from synthbench.gate.check import Checked


def test_numbers_and_sentences() -> None:
    line = compared.Line("full", "learning", "could not tell", 0.1, 0.2, 16, seeds=40.0)
    assert " 40 seeds" in written.seeds(line)
    assert " 1000 seeds" in written.seeds(line._replace(seeds=float("inf")))
    assert written.number(float("nan")) == "-"
    assert compared.overall([]) == "could not tell"
    assert compared.overall([line, line._replace(verdict="changed")]) == "changed"


def test_an_annotation_tells_the_verdict_and_others_the_worst_lines_as_many_as_are_shown() -> None:
    lines = [compared.Line("full", f"score {k}", "changed", float(k), 1.0, 16) for k in range(2, 32)]
    fine = compared.Line("full", "fine", "unchanged", 0.0, 1.0, 16)
    told = written.as_github(Checked("b.json", "adamw", "behaviour", [fine, *lines], "A cause.", [], "Do this."))
    first, *others = told.splitlines()
    assert first.startswith("::error title=")
    assert "adamw" in first
    assert "b.json" in first
    assert first.endswith("A cause. Do this.")
    assert len(others) == 9
    assert others[0].startswith("::error title=")
    assert "score 31" in others[0]


def test_a_report_of_tests_has_the_verdict_and_what_to_do() -> None:
    line = compared.Line("full", "learning", "changed", 2.0, 1.0, 16)
    report = written.as_junit(Checked("b.json", "adamw", "behaviour", [line], "A cause.", ["A note."], "Do this."))
    said = ElementTree.fromstring(report).findtext("system-out")
    assert said is not None
    assert "adamw" in said
    assert said.endswith("A note.\nA cause.\nDo this.")
