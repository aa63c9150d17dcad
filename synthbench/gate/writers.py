"""The result of a check in the formats that people, GitHub, test reports and dashboards read."""

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
from synthbench.gate.check import CheckResult
from synthbench.gate.comparison import Line

DIGITS = 3  # of a number in text
SHOWN = 10  # annotations of a step that GitHub shows
NAMES = ("score", "quantity")  # heads of columns that name a row beside its place


def heads(result: CheckResult) -> list[str]:
    if result.level == "exact":
        return ["stage/update", "seeds", "that differ", "verdict"]
    if result.level == "trace":
        return ["stage/update", "quantity", "deviation", "allowed", "from step", "verdict"]
    return ["stage/update", "score", "before", "after", "difference (95 %)", "bound", "verdict"]


def cells(result: CheckResult) -> list[list[str]]:
    """A row of text a line."""
    return [[inert(cell) for cell in _cells(result, line)] for line in result.lines]


def _cells(result: CheckResult, line: Line) -> list[str]:
    verdict = line.verdict + seeds(line)
    if result.level == "exact":
        return [line.where, str(line.n), f"{line.difference:.0f}", verdict]
    if result.level == "trace":
        return [line.where, line.what, number(line.difference), number(line.allowed), str(line.step or "-"), verdict]
    half = f" ± {(line.high - line.low) / 2:.2g}" if isfinite(line.low) else ""
    bound = number(line.allowed) if line.allowed else "-"
    difference = number(line.difference, True) + half
    return [line.where, line.what, number(line.before), number(line.after), difference, bound, verdict]


def seeds(line: Line) -> str:
    """The estimated number of seeds for 80 % power, of an inconclusive line."""
    if line.verdict != "inconclusive" or line.seeds != line.seeds:
        return ""
    number = f"about {line.seeds:.0f}" if line.seeds <= MOST_SEEDS else f"over {MOST_SEEDS}"
    return f" ({number} seeds for 80 % power)"


def number(value: float, signed: bool = False) -> str:
    return f"{value:{'+' * signed}.{DIGITS}g}" if isfinite(value) else "-"


def sentence(result: CheckResult) -> str:
    """The verdict in a sentence: `Unchanged: muon against baselines/muon.json, level trace: all 19 lines.`"""
    changed = [line for line in result.lines if line.verdict == "changed"]
    undecided = [line for line in result.lines if line.verdict == "inconclusive"]
    what = f"{result.optimizer} against {result.origin}, level {result.level}"
    if result.verdict == "changed":
        worst = max(changed, key=_excess)
        return (
            f"Changed: {what}: {len(changed)} of {len(result.lines)} lines, most of all {worst.what} of {worst.where}."
        )
    if result.verdict == "unchanged":
        return f"Unchanged: {what}: all {len(result.lines)} lines."
    return f"Inconclusive: {what}: {len(undecided)} of {len(result.lines)} lines, none changed."


def _excess(line: Line) -> float:
    """How far beyond what is allowed."""
    excess = abs(line.difference) / line.allowed if line.allowed else inf
    return excess if excess == excess else 0.0


def remarks(result: CheckResult) -> list[str]:
    """The sentences beside the verdict."""
    return [sentence for sentence in (*result.notes, result.cause, result.advice) if sentence]


def as_text(result: CheckResult) -> str:
    """For a test's report."""
    from tabulate import tabulate

    sentences = [sentence(result), *remarks(result)]
    return "\n".join([*sentences, "", tabulate(cells(result), heads(result), tablefmt="simple", disable_numparse=True)])


def as_json(result: CheckResult) -> str:
    return json.dumps(
        {
            "baseline": result.origin, "optimizer": result.optimizer, "level": result.level, "verdict": result.verdict,
            "cause": result.cause, "notes": list(result.notes), "advice": result.advice,
            "lines": [{key: _plain(value) for key, value in line._asdict().items()} for line in result.lines],
        },
        indent=1, allow_nan=False,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value


def as_markdown(result: CheckResult) -> str:
    """For a job's summary."""
    from tabulate import tabulate

    rows = [[literal(cell) for cell in row] for row in cells(result)]
    drawn = tabulate(rows, heads(result), tablefmt="github", disable_numparse=True)
    sentences = [literal(sentence(result)), *map(literal, remarks(result))]
    return "\n\n".join([f"### {sentences[0]}", *sentences[1:], drawn])


def as_github(result: CheckResult) -> str:
    """Annotations of the verdict and of the lines that are farthest from what is allowed; one notice where unchanged."""
    if result.verdict == "unchanged":
        return f"::notice title=synthbench::{_message(sentence(result))}"
    kinds = {"changed": "error", "inconclusive": "warning"}
    text = " ".join(filter(None, (sentence(result), result.cause, result.advice)))
    lines = [f"::{kinds[result.verdict]} title=synthbench::{_message(text)}"]
    worst = sorted(zip(result.lines, cells(result), strict=True), key=lambda pair: -_excess(pair[0]))
    for line, row in [pair for pair in worst if pair[0].verdict in kinds][: SHOWN - 1]:
        lines.append(f"::{kinds[line.verdict]} title=synthbench {_property(line.what)}::{_message(_row(result, row))}")
    return "\n".join(lines)


def _row(result: CheckResult, cells: Sequence[str]) -> str:
    return ", ".join(f"{head} {cell}" for head, cell in zip(heads(result), cells, strict=True))


def _message(text: str) -> str:
    """As GitHub wants the words of its workflow commands."""
    return inert(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same of a property, such as a title."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def as_junit(result: CheckResult) -> str:
    """A test suite with a case a line."""
    suite = ElementTree.Element("testsuite", {
        "name": f"synthbench check {inert(result.origin)}", "tests": str(len(result.lines)),
        "failures": str(sum(line.verdict == "changed" for line in result.lines)),
        "errors": str(sum(line.verdict == "inconclusive" for line in result.lines)),
    })  # fmt: skip
    group = inert(f"synthbench.{result.optimizer}.{result.level}")
    for line, row in zip(result.lines, cells(result), strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=inert(f"{line.where} {line.what}"))
        if line.verdict != "unchanged":
            kind = "failure" if line.verdict == "changed" else "error"
            ElementTree.SubElement(case, kind, message=_row(result, row))
    output = ElementTree.SubElement(suite, "system-out")
    output.text = "\n".join(map(inert, [sentence(result), *remarks(result)]))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_dashboard(result: CheckResult) -> str:
    """The `customSmallerIsBetter` records of github-action-benchmark: of every line its difference over what is allowed, at
    the level of bits the seeds that differ."""
    records = []
    for line in result.lines:
        value = abs(line.difference) / (line.allowed or 1.0)
        if isfinite(value):
            half = (line.high - line.low) / 2 / (line.allowed or 1.0)
            sides = f"; before {number(line.before)}, after {number(line.after)}" if isfinite(line.before) else ""
            records.append({
                "name": f"{result.optimizer} {line.where} {line.what}",
                "unit": "seeds" if result.level == "exact" else "of what is allowed", "value": value,
                "range": f"± {number(half)}" if isfinite(half) else "",
                "extra": line.verdict + sides,
            })  # fmt: skip
    return json.dumps(records, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[CheckResult], str]] = {
    "json": as_json, "markdown": as_markdown, "github": as_github, "junit": as_junit, "dashboard": as_dashboard,
}  # fmt: skip


def as_rich(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """For a terminal: the first column, where another follows that names a row, becomes headings."""
    from synthbench.reporting.terminal_table import Column, Drawing

    drawn = [[inert(cell) for cell in row] for row in rows]
    if heads[1] in NAMES:
        heads, drawn = [f"{heads[0]}\n  {heads[1]}", *heads[2:]], list(headed(drawn))
    last = len(heads) - 1
    columns = [
        Column(head, [row[index] for row in drawn], is_right=0 < index < last, least=14 if index == last else None)
        for index, head in enumerate(heads)
    ]
    return Drawing(columns[:1], columns[1:])


def headed(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Rows without their first cell, below a heading of it."""
    for where, group in groupby(rows, key=itemgetter(0)):
        yield [where, *[""] * (len(rows[0]) - 2)]
        for _, what, *cells in group:
            yield [f"  {what}", *cells]
