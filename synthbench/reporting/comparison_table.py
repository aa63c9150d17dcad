"""A comparison as a table in several formats with equal numbers, and in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from synthbench.analysis import verdict
from synthbench.analysis.pairing import AXES, named
from synthbench.analysis.verdict import DECIDED
from synthbench.common.wording import inert, literal, short
from synthbench.reporting.comparison import Comparison, Finding
from synthbench.reporting.table import ARROWS, DIGITS, SHOWN, WIDEST, Entry, separated
from synthbench.reporting.terminal_table import Column, Drawing
from synthbench.scores import SCORES

MOST_SAID = 6  # findings of one kind that the sentence names
LEAST = {"row": 12, "verdict": 12}  # widths down to which these columns are folded


def heads(found: Comparison) -> list[str]:
    own, other = (short(inert(name), WIDEST) for name in found.names)
    return ["row", "score", own, other, "difference", "n", "verdict"]


def cells(found: Comparison) -> list[list[str]]:
    """Every finding as text."""
    return [
        [
            short(inert(where(one, found)), 2 * WIDEST),
            f"{one.score} {ARROWS[SCORES[one.score].better]}".strip(),
            *("-" if mean is None else f"{mean:z.{SHOWN}f}" for mean in (one.own, one.other)),
            Entry.of(one.verdict.found, signed=True).text(one.verdict.found.n) if one.own is not None else "-",
            str(one.verdict.found.n),
            verdict.words(one.verdict, one.score, short(inert(found.names[0]), WIDEST)),
        ]
        for one in found.findings
    ]


def where(one: Finding, found: Comparison) -> str:
    """What tells a finding's rows from other pairs: `full`, or `wugs, muon, lora-16`."""
    rows = [finding.pair.row for finding in found.findings]
    always = "label" if found.axis == "update" else "update"
    axes = [
        axis
        for axis in (*AXES, "weight_decay")
        if axis == always or (axis != found.axis and len({getattr(row, axis) for row in rows}) > 1)
    ]
    return ", ".join(named(one.pair.row, axis) for axis in axes)


def as_rich(found: Comparison) -> Any:
    """For a terminal: rows are named once, long verdicts go on in a second line."""
    rows, names = cells(found), heads(found)
    new = [place == 0 or rows[place][0] != rows[place - 1][0] for place in range(len(rows))]
    rows = [[row[0] if is_new else "", *row[1:]] for row, is_new in zip(rows, new, strict=True)]
    columns = [
        Column(head, cells, is_right=2 <= place <= 5, least=LEAST.get(head, 8 if place in (2, 3) else None))
        for place, (head, cells) in enumerate(zip(names, zip(*rows, strict=True), strict=True))
    ]
    return Drawing(columns[:2], columns[2:], breaks=[place - 1 for place, is_new in enumerate(new) if is_new and place])


def as_markdown(found: Comparison) -> str:
    from tabulate import tabulate

    rows = [[literal(cell) for cell in row] for row in cells(found)]
    drawn = tabulate(rows, [literal(head) for head in heads(found)], tablefmt="github", disable_numparse=True)
    return "\n\n".join([drawn, *map(literal, found.notes), literal(sentence(found))])


def records(found: Comparison) -> list[dict[str, Any]]:
    """One flat dictionary a finding. detectable: the difference that as many seeds would tell with 80 % power."""
    return [_record(one, found) for one in found.findings]


def _record(one: Finding, found: Comparison) -> dict[str, Any]:
    row, score, judged = one.pair.row, SCORES[one.score], one.verdict
    axes = {
        {"label": "optimizer"}.get(axis, axis): getattr(row, axis) for axis in (*AXES, "weight_decay") if axis != found.axis
    }  # fmt: skip
    mean, low, high, n = judged.found
    numbers = {"mean_a": one.own, "mean_b": one.other, "difference": mean, "low": low, "high": high}
    return axes | {
        "a": found.names[0], "b": found.names[1], "reference": row.reference or one.pair.other.reference,
        "score": one.score, "unit": score.unit, "n": n,
        **{name: _rounded(value) for name, value in numbers.items()},
        "p": None if one.p_holm is None else judged.p, "p_holm": one.p_holm, "margin": judged.margin,
        "detectable": _rounded(judged.detectable), "seeds_needed": int(judged.seeds) if isfinite(judged.seeds) else None,
        "verdict": verdict.words(judged, one.score, found.names[0]),
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else round(value, DIGITS) + 0.0


def as_csv(found: Comparison) -> str:
    return separated(records(found))


def as_json(found: Comparison) -> str:
    content = {
        "a": found.names[0], "b": found.names[1], "rows": records(found), "sentence": sentence(found), "notes": found.notes
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False)


WRITERS: dict[str, Callable[[Comparison], str]] = {"markdown": as_markdown, "csv": as_csv, "json": as_json}


def sentence(found: Comparison) -> str:
    """What is decided, what makes no difference, what depends on the target step, and what it would take to decide the rest."""
    own, other = found.names
    groups: list[tuple[tuple[verdict.Kind, ...], str, Callable[[Finding], str]]] = [
        (DECIDED, "decided", lambda one: f"{own} {verdict.direction(one.verdict, one.score)} by "
                                         f"{abs(one.verdict.found.mean):.{SHOWN}f}"),
        (("depends on target step",), "dependent on the target step", lambda one: f"{one.verdict.found.mean:+.{SHOWN}f} at the card's"),
        (("equal",), "within the card's margin", lambda one: f"{one.verdict.margin:g}"),
        (("identical",), "0 at every seed", lambda one: ""),
        (("undecided",), "undecided, with the seeds that would tell", lambda one: verdict.seeds(one.verdict)),
        (("too few seeds",), f"on fewer than {verdict.LEAST} seeds", lambda one: f"{one.verdict.found.n}"),
    ]  # fmt: skip
    parts = []
    for kinds, said, detail in groups:
        if own_kind := [one for one in found.findings if one.verdict.kind in kinds]:
            listed = [
                f"{one.score} ({': '.join(filter(None, [where(one, found), detail(one)]))})"
                for one in own_kind[:MOST_SAID]
            ]
            more = f" and {len(own_kind) - MOST_SAID} more" if len(own_kind) > MOST_SAID else ""
            parts.append(f"{len(own_kind)} {'is' if len(own_kind) == 1 else 'are'} {said}: {', '.join(listed)}{more}")
    return inert(f"Of {len(found.findings)} differences between {own} and {other}, {'; '.join(parts)}.")
