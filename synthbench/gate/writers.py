"""What a check found, in the forms that people, GitHub, test reports and dashboards read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import inf, isfinite
from operator import itemgetter
from typing import Any
from xml.etree import ElementTree

from synthbench.analysis.statistics import MOST_SEEDS
from synthbench.common.wording import inert, literal
from synthbench.gate.check import Checked
from synthbench.gate.comparison import Line

DIGITS = 3  # of a number in text
SHOWN = 10  # annotations of a step that GitHub shows
NAMES = ("score", "quantity")  # heads of columns that name a row beside its place


def heads(checked: Checked) -> list[str]:
    if checked.level == "exact":
        return ["stage/update", "seeds", "that differ", "verdict"]
    if checked.level == "trace":
        return ["stage/update", "quantity", "deviation", "allowed", "from step", "verdict"]
    return ["stage/update", "score", "before", "after", "difference (95 %)", "bound", "verdict"]


def cells(checked: Checked) -> list[list[str]]:
    """A row of text a line."""
    return [[inert(cell) for cell in _cells(checked, line)] for line in checked.lines]


def _cells(checked: Checked, line: Line) -> list[str]:
    verdict = line.verdict + seeds(line)
    if checked.level == "exact":
        return [line.where, str(line.n), f"{line.difference:.0f}", verdict]
    if checked.level == "trace":
        return [line.where, line.what, number(line.difference), number(line.allowed), str(line.step or "-"), verdict]
    half = f" ± {(line.high - line.low) / 2:.2g}" if isfinite(line.low) else ""
    bound = number(line.allowed) if line.allowed else "-"
    difference = number(line.difference, True) + half
    return [line.where, line.what, number(line.before), number(line.after), difference, bound, verdict]


def seeds(line: Line) -> str:
    """How many seeds would tell, where that was not told."""
    if line.verdict != "could not tell" or line.seeds != line.seeds:
        return ""
    return f" (about {line.seeds:.0f} seeds would)" if line.seeds <= MOST_SEEDS else f" (over {MOST_SEEDS} seeds would)"


def number(value: float, signed: bool = False) -> str:
    return f"{value:{'+' * signed}.{DIGITS}g}" if isfinite(value) else "-"


def sentence(checked: Checked) -> str:
    """The verdict in a sentence: `Unchanged: muon against baselines/muon.json, level trace: all 19 lines.`"""
    changed = [line for line in checked.lines if line.verdict == "changed"]
    open_ = [line for line in checked.lines if line.verdict == "could not tell"]
    of = f"{checked.optimizer} against {checked.origin}, level {checked.level}"
    if checked.verdict == "changed":
        worst = max(changed, key=_excess)
        return (
            f"Changed: {of}: {len(changed)} of {len(checked.lines)} lines, most of all {worst.what} of {worst.where}."
        )
    if checked.verdict == "unchanged":
        return f"Unchanged: {of}: all {len(checked.lines)} lines."
    return f"Could not tell: {of}: {len(open_)} of {len(checked.lines)} lines are undecided, none changed."


def _excess(line: Line) -> float:
    """How far beyond what is allowed."""
    excess = abs(line.difference) / line.allowed if line.allowed else inf
    return excess if excess == excess else 0.0


def remarks(checked: Checked) -> list[str]:
    """What is said beside the verdict."""
    return [one for one in (*checked.notes, checked.cause, checked.advice) if one]


def as_text(checked: Checked) -> str:
    """For a test's report."""
    from tabulate import tabulate

    said = [sentence(checked), *remarks(checked)]
    return "\n".join([*said, "", tabulate(cells(checked), heads(checked), tablefmt="simple", disable_numparse=True)])


def as_json(checked: Checked) -> str:
    return json.dumps(
        {
            "baseline": checked.origin, "optimizer": checked.optimizer, "level": checked.level, "verdict": checked.verdict,
            "cause": checked.cause, "notes": list(checked.notes), "advice": checked.advice,
            "lines": [{key: _plain(value) for key, value in line._asdict().items()} for line in checked.lines],
        },
        indent=1, allow_nan=False,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value


def as_markdown(checked: Checked) -> str:
    """For a job's summary."""
    from tabulate import tabulate

    rows = [[literal(cell) for cell in row] for row in cells(checked)]
    drawn = tabulate(rows, heads(checked), tablefmt="github", disable_numparse=True)
    said = [literal(sentence(checked)), *map(literal, remarks(checked))]
    return "\n\n".join([f"### {said[0]}", *said[1:], drawn])


def as_github(checked: Checked) -> str:
    """Annotations of the verdict and of the lines that are farthest from what is allowed; one notice where all is well."""
    if checked.verdict == "unchanged":
        return f"::notice title=synthbench::{_message(sentence(checked))}"
    kinds = {"changed": "error", "could not tell": "warning"}
    said = " ".join(filter(None, (sentence(checked), checked.cause, checked.advice)))
    lines = [f"::{kinds[checked.verdict]} title=synthbench::{_message(said)}"]
    worst = sorted(zip(checked.lines, cells(checked), strict=True), key=lambda pair: -_excess(pair[0]))
    for line, row in [pair for pair in worst if pair[0].verdict in kinds][: SHOWN - 1]:
        told = ", ".join(f"{head} {cell}" for head, cell in zip(heads(checked), row, strict=True))
        lines.append(f"::{kinds[line.verdict]} title=synthbench {_property(line.what)}::{_message(told)}")
    return "\n".join(lines)


def _message(text: str) -> str:
    """As GitHub wants the words of its workflow commands."""
    return inert(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same of a property, such as a title."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def as_junit(checked: Checked) -> str:
    """A test suite with a case a line."""
    suite = ElementTree.Element("testsuite", {
        "name": f"synthbench check {inert(checked.origin)}", "tests": str(len(checked.lines)),
        "failures": str(sum(line.verdict == "changed" for line in checked.lines)),
        "errors": str(sum(line.verdict == "could not tell" for line in checked.lines)),
    })  # fmt: skip
    group = inert(f"synthbench.{checked.optimizer}.{checked.level}")
    for line, row in zip(checked.lines, cells(checked), strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=inert(f"{line.where} {line.what}"))
        if line.verdict != "unchanged":
            told = ", ".join(f"{head} {cell}" for head, cell in zip(heads(checked), row, strict=True))
            ElementTree.SubElement(case, "failure" if line.verdict == "changed" else "error", message=told)
    said = ElementTree.SubElement(suite, "system-out")
    said.text = "\n".join(map(inert, [sentence(checked), *remarks(checked)]))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_dashboard(checked: Checked) -> str:
    """The `customSmallerIsBetter` records of github-action-benchmark: of every line its difference over what is allowed, at
    the level of bits the seeds that differ."""
    found = []
    for line in checked.lines:
        value = abs(line.difference) / (line.allowed or 1.0)
        if isfinite(value):
            half = (line.high - line.low) / 2 / (line.allowed or 1.0)
            sides = f"; before {number(line.before)}, after {number(line.after)}" if isfinite(line.before) else ""
            found.append({
                "name": f"{checked.optimizer} {line.where} {line.what}",
                "unit": "seeds" if checked.level == "exact" else "of what is allowed", "value": value,
                "range": f"± {number(half)}" if isfinite(half) else "",
                "extra": line.verdict + sides,
            })  # fmt: skip
    return json.dumps(found, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Checked], str]] = {
    "json": as_json, "markdown": as_markdown, "github": as_github, "junit": as_junit, "dashboard": as_dashboard,
}  # fmt: skip


def as_rich(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """For a terminal: the first column, where another follows that names a row, becomes headings, so that a row fits."""
    from synthbench.reporting.terminal_table import Column, Drawing

    drawn = [[inert(cell) for cell in row] for row in rows]
    if heads[1] in NAMES:
        heads, drawn = [f"{heads[0]}\n  {heads[1]}", *heads[2:]], list(headed(drawn))
    last = len(heads) - 1
    columns = [
        Column(head, [row[place] for row in drawn], is_right=0 < place < last, least=14 if place == last else None)
        for place, head in enumerate(heads)
    ]
    return Drawing(columns[:1], columns[1:])


def headed(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Rows without their first cell, below a heading of it."""
    for where, own in groupby(rows, key=itemgetter(0)):
        yield [where, *[""] * (len(rows[0]) - 2)]
        for _, what, *cells in own:
            yield [f"  {what}", *cells]
