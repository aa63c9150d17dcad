"""The result of a check in the formats that people, GitHub, test reports and dashboards read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import inf, isfinite
from typing import Any
from xml.etree import ElementTree

from synthbench.analysis.statistics import MOST_SEEDS
from synthbench.common.wording import inert, literal
from synthbench.gate.check import CheckResult
from synthbench.gate.comparison import Line
from synthbench.reporting.table import github

DIGITS = 3  # of a number in text
SHOWN = 10  # annotations of a step that GitHub shows
KINDS = {"changed": "error", "inconclusive": "warning"}  # of annotations


def heads(result: CheckResult) -> list[str]:
    if result.level == "exact":
        return ["stage/update", "seeds", "that differ", "verdict"]
    if result.level == "trace":
        return ["stage/update", "quantity", "deviation", "allowed", "from step", "verdict"]
    return ["stage/update", "score", "before", "after", "difference (95 %)", "bound", "verdict"]


def cells(result: CheckResult) -> list[list[str]]:
    """A row of text for each line."""
    return [[inert(cell) for cell in _cells(result, line)] for line in result.lines]


def _cells(result: CheckResult, line: Line) -> list[str]:
    verdict = line.verdict + seeds(line)
    if result.level == "exact":
        return [line.where, str(line.n), f"{line.difference:.0f}", verdict]
    if result.level == "trace":
        return [line.where, line.what, number(line.difference), number(line.allowed), str(line.step or "-"), verdict]
    half = f" ± {(line.high - line.low) / 2:.2g}" if isfinite(line.low) else ""
    difference, bound = number(line.difference, "+") + half, number(line.allowed) if line.allowed else "-"
    return [line.where, line.what, number(line.before), number(line.after), difference, bound, verdict]


def seeds(line: Line) -> str:
    """The estimated number of seeds for 80 % power, of an inconclusive line."""
    if line.verdict != "inconclusive" or line.seeds != line.seeds:
        return ""
    number = f"about {line.seeds:.0f}" if line.seeds <= MOST_SEEDS else f"over {MOST_SEEDS}"
    return f" ({number} seeds for 80 % power)"


def number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.{DIGITS}g}" if isfinite(value) else "-"


def sentence(result: CheckResult) -> str:
    """The verdict in a sentence: `Unchanged: muon against baselines/muon.json, level trace: all 19 lines.`"""
    lines = [line for line in result.lines if line.verdict == result.verdict]
    what = f"{result.verdict.capitalize()}: {result.optimizer} against {result.origin}, level {result.level}"
    if result.verdict == "unchanged":
        return f"{what}: all {len(lines)} lines."
    if result.verdict == "inconclusive":
        return f"{what}: {len(lines)} of {len(result.lines)} lines, none changed."
    worst = max(lines, key=_excess)
    return f"{what}: {len(lines)} of {len(result.lines)} lines, most of all {worst.what} of {worst.where}."


def _excess(line: Line) -> float:
    """How far beyond its bound."""
    excess = abs(line.difference) / line.allowed if line.allowed else inf
    return excess if excess == excess else 0.0


def remarks(result: CheckResult) -> list[str]:
    """The sentences beside the verdict."""
    return [*result.notes, *filter(None, (result.cause, result.advice))]


def as_text(result: CheckResult) -> str:
    """For a test's report."""
    from tabulate import tabulate

    drawn = tabulate(cells(result), heads(result), tablefmt="simple", disable_numparse=True)
    return "\n".join([sentence(result), *remarks(result), "", drawn])


def as_json(result: CheckResult) -> str:
    lines = [
        {key: value if isinstance(value, str) or isfinite(value) else None for key, value in line._asdict().items()}
        for line in result.lines
    ]
    content = {
        "baseline": result.origin, "optimizer": result.optimizer, "level": result.level, "verdict": result.verdict,
        "cause": result.cause, "notes": list(result.notes), "advice": result.advice, "lines": lines,
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False)


def as_markdown(result: CheckResult) -> str:
    """For a job's summary."""
    drawn = github(heads(result), [[literal(cell) for cell in row] for row in cells(result)])
    return "\n\n".join([f"### {literal(sentence(result))}", *map(literal, remarks(result)), drawn])


def as_github(result: CheckResult) -> str:
    """Annotations of the verdict and of the lines that are farthest beyond their bounds; one notice where unchanged."""
    if result.verdict == "unchanged":
        return f"::notice title=synthbench::{_message(sentence(result))}"
    text = " ".join(filter(None, (sentence(result), result.cause, result.advice)))
    annotations = [f"::{KINDS[result.verdict]} title=synthbench::{_message(text)}"]
    rows = [(line, row) for line, row in zip(result.lines, _rows(result), strict=True) if line.verdict in KINDS]
    for line, row in sorted(rows, key=lambda pair: -_excess(pair[0]))[: SHOWN - 1]:
        title = _message(line.what).replace(":", "%3A").replace(",", "%2C")
        annotations.append(f"::{KINDS[line.verdict]} title=synthbench {title}::{_message(row)}")
    return "\n".join(annotations)


def _rows(result: CheckResult) -> list[str]:
    """Each line as a clause: `stage/update finetune/full, score learning, ...`."""
    return [", ".join(f"{head} {cell}" for head, cell in zip(heads(result), row, strict=True)) for row in cells(result)]


def _message(text: str) -> str:
    """Text as GitHub's workflow commands take it."""
    return inert(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def as_junit(result: CheckResult) -> str:
    """A test suite with a case for each line."""
    verdicts = [line.verdict for line in result.lines]
    suite = ElementTree.Element("testsuite", {
        "name": f"synthbench check {inert(result.origin)}", "tests": str(len(verdicts)),
        "failures": str(verdicts.count("changed")), "errors": str(verdicts.count("inconclusive")),
    })  # fmt: skip
    group = inert(f"synthbench.{result.optimizer}.{result.level}")
    for line, row in zip(result.lines, _rows(result), strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=inert(f"{line.where} {line.what}"))
        if line.verdict != "unchanged":
            ElementTree.SubElement(case, "failure" if line.verdict == "changed" else "error", message=row)
    output = ElementTree.SubElement(suite, "system-out")
    output.text = "\n".join(map(inert, [sentence(result), *remarks(result)]))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_dashboard(result: CheckResult) -> str:
    """The `customSmallerIsBetter` records of github-action-benchmark: for each line its difference over its bound, at level
    `exact` the seeds that differ."""
    records, unit = [], "seeds" if result.level == "exact" else "of what is allowed"
    for line in result.lines:
        bound = line.allowed or 1.0
        value, half = abs(line.difference) / bound, (line.high - line.low) / 2 / bound
        if isfinite(value):
            sides = f"; before {number(line.before)}, after {number(line.after)}" if isfinite(line.before) else ""
            records.append({
                "name": f"{result.optimizer} {line.where} {line.what}", "unit": unit, "value": value,
                "range": f"± {number(half)}" if isfinite(half) else "", "extra": line.verdict + sides,
            })  # fmt: skip
    return json.dumps(records, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[CheckResult], str]] = {
    "json": as_json, "markdown": as_markdown, "github": as_github, "junit": as_junit, "dashboard": as_dashboard,
}  # fmt: skip


def as_rich(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """For a terminal: where the second column names rows, too, the first becomes headings."""
    from synthbench.reporting.terminal_table import Column, Drawing

    drawn = [[inert(cell) for cell in row] for row in rows]
    if heads[1] in ("score", "quantity"):
        heads, drawn = [f"{heads[0]}\n  {heads[1]}", *heads[2:]], list(_headed(drawn))
    last = len(heads) - 1
    columns = [
        Column(head, [row[index] for row in drawn], is_right=0 < index < last, least=14 if index == last else None)
        for index, head in enumerate(heads)
    ]
    return Drawing(columns[:1], columns[1:])


def _headed(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Rows without their first cell, below a heading of it."""
    for where, of_group in groupby(rows, key=lambda row: row[0]):
        yield [where, *[""] * (len(rows[0]) - 2)]
        for _, what, *cells in of_group:
            yield [f"  {what}", *cells]
