"""A comparison as a table in several formats with equal numbers, and in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from synthbench.analysis import verdict
from synthbench.analysis.pairing import AXES, on
from synthbench.analysis.verdict import DECIDED, Finding
from synthbench.common.wording import inert, literal, short
from synthbench.reporting.bounds import within
from synthbench.reporting.comparison import Comparison
from synthbench.reporting.sentence import UNPAIRED, by_rank, direction, seeds, small, words
from synthbench.reporting.table import (
    ARROWS,
    COLUMNS,
    SHOWN,
    WIDEST,
    Entry,
    github,
    rounded,
    row_name,
    separated,
    signed,
)
from synthbench.reporting.terminal_table import Column, Drawing, interval_width
from synthbench.scores import SCORES

MOST_NAMED = 6  # findings of one kind that the sentence names
TITLES: dict[tuple[verdict.Kind, ...], str] = {
    DECIDED: "decided",
    ("depends on target step",): "dependent on the target step",
    ("equal",): "within the card's margin",
    ("identical",): "0 at every seed",
    ("inconclusive",): "inconclusive",
    ("not comparable",): "not comparable",
    ("too few seeds",): f"on fewer than {verdict.LEAST_SEEDS} seeds",
}
NAMED = (0, 2, 3)  # columns with names of rows, in cells or in the head
NARROWEST = {0: 12, 2: 8, 3: 8, 6: 12}  # least widths of the columns that are folded


def heads(comparison: Comparison) -> list[str]:
    return ["row", "score", *(short(inert(name), WIDEST) for name in comparison.names), "difference", "n", "verdict"]


def cells(comparison: Comparison) -> list[list[str]]:
    """Every finding as text."""
    subject, rows = short(inert(comparison.names[0]), WIDEST), []
    for finding in comparison.findings:
        difference = finding.verdict.difference
        rows.append([
            short(inert(where(finding, comparison)), 2 * WIDEST),
            f"{finding.score} {ARROWS[SCORES[finding.score].better]}".strip(),
            *("-" if mean is None else f"{mean:z.{SHOWN}f}" for mean in finding.means),
            Entry.of(difference, finding.score, signed=True).text(difference.n) if difference.n else "-",
            str(difference.n),
            words(finding.verdict, finding.score, subject) + " (unpaired)" * (not finding.verdict.paired),
        ])  # fmt: skip
    return rows


def where(finding: Finding, comparison: Comparison) -> str:
    """A finding's rows among the others: `full`, or `wugs, muon, lora-16`."""
    always = ["label" if comparison.axis == "update" else "update"]
    rows = [other.pair.row for other in comparison.findings]
    return row_name(finding.pair.row, rows, always=always, apart_from=comparison.axis, between=", ")


def as_rich(comparison: Comparison) -> Any:
    """For a terminal: rows are named once, long verdicts are folded."""
    rows, breaks = cells(comparison), []
    for index in reversed(range(1, len(rows))):
        if rows[index][0] == rows[index - 1][0]:
            rows[index][0] = ""
        else:
            breaks.append(index - 1)
    columns = [
        Column(head, texts, 2 <= index <= 5, NARROWEST.get(index) or interval_width(texts), index in NAMED)
        for index, (head, texts) in enumerate(zip(heads(comparison), zip(*rows, strict=True), strict=True))
    ]
    return Drawing(columns[:2], columns[2:], breaks)


def as_markdown(comparison: Comparison) -> str:
    drawn = github([*map(literal, heads(comparison))], [[literal(cell) for cell in row] for row in cells(comparison)])
    return "\n\n".join([drawn, *map(literal, comparison.notes), literal(sentence(comparison))])


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dictionary a finding. detectable: the difference that as many seeds detect with 80 % power."""
    return [_record(finding, comparison) for finding in comparison.findings]


def _record(finding: Finding, comparison: Comparison) -> dict[str, Any]:
    row, judged, (first, second) = finding.pair.row, finding.verdict, comparison.names
    axes = [axis for axis in (*AXES, *row.axes) if axis != comparison.axis]
    mean, low, high, n = within(judged.difference, finding.score, of_difference=True)
    return {COLUMNS.get(axis, axis): on(row, axis) for axis in axes} | {
        "data_size": row.size, "weight_decay": row.weight_decay, "a": first, "b": second,
        "reference": row.reference or finding.pair.other.reference, "paired": judged.paired, "score": finding.score,
        "unit": SCORES[finding.score].unit, "n": n,
        "mean_a": rounded(finding.means[0]), "mean_b": rounded(finding.means[1]),
        "difference": rounded(mean), "low": rounded(low), "high": rounded(high),
        "p": None if finding.p_holm is None else judged.p, "p_holm": finding.p_holm, "margin": judged.margin,
        "detectable": rounded(judged.detectable), "seeds_needed": int(judged.seeds) if isfinite(judged.seeds) else None,
        "verdict": words(judged, finding.score, first),
    }  # fmt: skip


def as_json(comparison: Comparison) -> str:
    names = {"a": comparison.names[0], "b": comparison.names[1]}
    content = names | {"rows": records(comparison), "sentence": sentence(comparison), "notes": comparison.notes}
    return json.dumps(content, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Comparison], str]] = {
    "markdown": as_markdown, "csv": lambda comparison: separated(records(comparison)), "json": as_json,
}  # fmt: skip


def sentence(comparison: Comparison) -> str:
    """The findings by kind of verdict, with the seeds that inconclusive ones would take."""
    parts = []
    for kinds, title in TITLES.items():
        if alike := [finding for finding in comparison.findings if finding.verdict.kind in kinds]:
            clauses = [
                f"{finding.score} ({where(finding, comparison)}{_detail(finding, comparison.names[0])})"
                for finding in alike[:MOST_NAMED]
            ]
            more = f" and {len(alike) - MOST_NAMED} more" if len(alike) > MOST_NAMED else ""
            parts.append(f"{len(alike)} {'is' if len(alike) == 1 else 'are'} {title}: {', '.join(clauses)}{more}")
    count, names = len(comparison.findings), " and ".join(comparison.names)
    unpaired = sum(not finding.verdict.paired for finding in comparison.findings)
    how = f" ({f'{unpaired} ' * (unpaired < count)}{UNPAIRED})" if unpaired else ""
    return inert(f"Of {count} differences between {names}{how}, {'; '.join(parts)}.")


def _detail(finding: Finding, subject: str) -> str:
    """What the sentence adds to a finding."""
    judged = finding.verdict
    if judged.ranked and judged.kind in DECIDED:
        return f": {subject} {direction(judged, finding.score)}, {by_rank(judged)}"
    if judged.ranked and judged.kind == "inconclusive":
        return f": {by_rank(judged)}, n = {judged.difference.n}"
    if judged.kind in DECIDED:
        size = f"by {abs(judged.difference.mean):.{SHOWN}f}{small(judged).replace('by ', '')}"
        return f": {subject} {direction(judged, finding.score)} {size}"
    if judged.kind == "inconclusive":
        return f": n = {judged.difference.n}; {seeds(judged)}"
    if judged.kind == "depends on target step":
        return f": {signed(judged.difference.mean)} at the card's"
    if judged.kind == "equal":
        return f": {judged.margin:g}"
    if judged.kind == "not comparable":
        return f": {judged.why}"
    return f": {judged.difference.n}" if judged.kind == "too few seeds" else ""
