"""Answers to claims in words: one line each, for a page, a terminal and other programs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthbench.analysis import verdict
from synthbench.analysis.claims import REFUTED, Answer
from synthbench.analysis.verdict import DECIDED, Verdict
from synthbench.cards import ClaimCard
from synthbench.cards.runner import RowsCard
from synthbench.common.wording import code, inert, listed, literal, prose
from synthbench.reporting.table import DIGITS, SHOWN, Entry
from synthbench.reporting.terminal_table import Column, Drawing

NOTE = (
    "Answers hold for these tasks, sizes and readings. Differences are means over tasks, paired over seeds, with their "
    "95 % intervals (Student's t). The primary claims share one error rate of 5 % (Holm); the others are exploratory."
)


def lines(found: Sequence[Answer], folder: Path | None) -> list[str]:
    """A numbered list in markdown: what was expected, what came of it, and the command that repeats the comparison. Where
    not all tasks have all seeds, the mean over tasks has those that all of them have."""
    return [f"{place}. {_line(one, folder)}" for place, one in enumerate(found, start=1)]


def _line(one: Answer, folder: Path | None) -> str:
    claim = one.claim
    rank = " (primary)" if claim.primary else ""
    parts = [f"**{said(one)}{rank}:** {literal(prose(claim.says))} ({literal(prose(claim.source))})"]
    if one.tasks:
        parts.append(
            f"{code(claim.score)} of {literal(_contrast(claim))}: {_difference(one)}, n = {one.pooled.found.n}"
            f"{_p(one)}. {len(one.tasks)} of {len(one.tasks) + len(one.missing)} tasks: {literal(by_task(one))}."
        )
    if one.tasks and one.seeds:
        lost = (f"{literal(task)} lacks {_seeds(own)}" for task, own in one.seeds.items())
        parts.append(f"Of the seeds, {'; '.join(lost)}.")
    if one.missing:
        parts.append(f"Left out: {literal(', '.join(f'{task} ({why})' for task, why in one.missing.items()))}.")
    if command := repeat(claim, folder):
        parts.append(code(command))
    return " ".join(parts)


def said(one: Answer) -> str:
    """The answer in words: `supported`, or `undecided (about 30 seeds would tell)`."""
    found = one.pooled
    if one.kind == "undecided":
        return f"undecided ({verdict.seeds(found)} would tell)" if found.seeds == found.seeds else "undecided (Holm)"
    if one.kind == "no difference":
        return "refuted: " + (
            f"no difference larger than {found.margin:g}" if any(found.found[:3]) else "no difference"
        )
    if one.kind == "opposite":
        return "refuted: " + ("there is one" if one.claim.expected == "equal" else "the opposite")
    is_small = found.margin is not None and max(abs(found.found.low), abs(found.found.high)) < found.margin
    is_direction = one.kind == "supported" and one.claim.expected != "equal"
    return f"supported (smaller than {found.margin:g})" if is_direction and is_small else one.kind


def _seeds(own: Sequence[int]) -> str:
    return listed(map(str, own))


def summary(found: Sequence[Answer]) -> str:
    """All answers in one sentence: `Of 10 claims, 4 are supported (1, 4, 6, 7), ...`."""
    groups: dict[str, list[str]] = {}
    for place, one in enumerate(found, start=1):
        groups.setdefault("refuted" if one.kind in REFUTED else one.kind, []).append(str(place))
    parts = [f"{len(own)} {'is' if len(own) == 1 else 'are'} {kind} ({', '.join(own)})" for kind, own in groups.items()]
    return f"Of {len(found)} claim{'s' * (len(found) > 1)}, {', '.join(parts)}."


def by_task(one: Answer) -> str:
    """What each task says by itself: `lower in wugs (-0.12); undecided in modular (+0.02)`."""
    groups: dict[str, list[str]] = {}
    for task, own in one.tasks.items():
        groups.setdefault(_kind(own), []).append(f"{task} ({own.found.mean:+z.{SHOWN}f})")
    return "; ".join(f"{kind} in {', '.join(tasks)}" for kind, tasks in groups.items())


def _kind(own: Verdict) -> str:
    if own.kind == "equal":
        return f"no difference larger than {own.margin:g}"
    return "dependent on the target step" if own.kind == "depends on target step" else str(own.kind)


def _contrast(claim: ClaimCard) -> str:
    return f"{_rows(claim.rows)} less {_rows(claim.than)}"


def _rows(wanted: RowsCard) -> str:
    return f"{wanted.optimizer} {wanted.update}" + (f" at {wanted.size:g}x the items" if wanted.size != 1 else "")


def _difference(one: Answer) -> str:
    mean, low, high, _ = one.pooled.found
    bounds = f" [{low:+z.{SHOWN}f}, {high:+z.{SHOWN}f}]" if low == low else ""
    return f"{mean:+z.{SHOWN}f}{bounds}" if mean == mean else "none"


def _p(one: Answer) -> str:
    """The p-value where one decides."""
    if one.pooled.kind not in DECIDED:
        return ""
    return ", p < .001" if one.p < 0.001 else f", p = {one.p:.3f}".replace("0.", ".")


def repeat(claim: ClaimCard, folder: Path | None) -> str | None:
    """The command that shows the comparison task by task; None where none does."""
    own, other = claim.rows, claim.than
    if own.update == other.update:
        words = [own.optimizer, other.optimizer, "--update", own.update]
    elif own.optimizer == other.optimizer:
        words = [own.update, other.update, "--optimizer", own.optimizer]
    else:
        return None
    tasks = ["--task", ",".join(claim.tasks)] if claim.tasks else []
    out = ["--out", str(folder)] if folder else []
    return shlex.join(["synthbench", "compare", *words, "--columns", claim.score, *tasks, *out])


def as_rich(found: Sequence[Answer]) -> Drawing:
    """For a terminal."""
    cells = [
        (
            f"{place}. {prose(one.claim.says)}", inert(said(one)) + " (primary)" * one.claim.primary,
            Entry.of(one.pooled.found, signed=True).text(one.pooled.found.n) if one.tasks else "-", by_task(one),
        )
        for place, one in enumerate(found, start=1)
    ]  # fmt: skip
    claims, answers, differences, tasks = zip(*cells, strict=True)
    return Drawing(
        [Column("claim", claims, least=30)],
        [Column("answer", answers, least=14), Column("difference", differences, is_right=True),
         Column("by task", tasks, least=24)],
        breaks=range(len(cells) - 1),
    )  # fmt: skip


def records(found: Sequence[Answer]) -> list[dict[str, Any]]:
    """For other programs: one dictionary a claim."""
    return [
        {
            **one.claim.model_dump(mode="json", exclude={"tasks"}), "answer": one.kind, **_numbers(one.pooled), "p": one.p,
            "tasks": {task: {"verdict": own.kind, **_numbers(own)} for task, own in one.tasks.items()},
            "missing": one.missing,
        }
        for one in found
    ]  # fmt: skip


def _numbers(own: Verdict) -> dict[str, float | int | None]:
    mean, low, high, n = own.found
    rounded = (round(x, DIGITS) + 0.0 if x == x else None for x in (mean, low, high))
    return dict(zip(("difference", "low", "high"), rounded, strict=True)) | {"n": n}
