"""Answers to claims in words: one line each, for a page, a terminal and other programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synthbench.analysis.claims import REFUTED, Answer
from synthbench.analysis.verdict import DECIDED, Verdict
from synthbench.cards import ClaimCard
from synthbench.cards.runner import RowsCard
from synthbench.common.wording import code, inert, literal, prose
from synthbench.reporting.bounds import within
from synthbench.reporting.sentence import UNPAIRED, against_itself, by_rank, elsewhere, numbers, p_value, undirected
from synthbench.reporting.table import Entry, rounded, signed
from synthbench.reporting.terminal_table import Column, Drawing

NOTE = (
    "Answers hold for these tasks, sizes and readings. Differences: means over tasks, with 95 % intervals, paired over "
    "seeds (Student's t) where rows start from the same models, else unpaired (Welch's t). A/A: an optimizer minus itself "
    "with other random numbers. The primary claims share one error rate of 5 % (Holm); the others are exploratory."
)


def lines(answers: Sequence[Answer], folder: Path | None) -> list[str]:
    """A numbered list in markdown: the claim, its answer with its numbers, the command that repeats the comparison."""
    return [f"{number}. {' '.join(_parts(answer, folder))}" for number, answer in enumerate(answers, start=1)]


def _parts(answer: Answer, folder: Path | None) -> Iterator[str]:
    claim, tasks = answer.claim, answer.tasks
    yield f"**{in_words(answer)}{_rank(claim)}:** {literal(prose(claim.says))} ({literal(prose(claim.source))})"
    if tasks:
        contrast = literal(f"{_rows(claim.rows)} minus {_rows(claim.than)}")
        yield f"{code(claim.score)} of {contrast}: {_numbers_in_words(answer)}."
        if answer.again:
            yield f"{literal(against_itself(answer.again, claim.score))}."
        if there := elsewhere(answer.pooled):
            yield f"The size depends on the target step: {there.removeprefix('; ')}."
        yield f"{len(tasks)} of {len(tasks) + len(answer.missing)} tasks: {literal(by_task(answer))}."
        if len({judged.difference.n for judged in tasks.values()}) > 1:
            yield f"Seeds: {literal(', '.join(f'{task} {judged.difference.n}' for task, judged in tasks.items()))}."
    if answer.missing:
        yield f"Left out: {literal(', '.join(f'{task} ({why})' for task, why in answer.missing.items()))}."
    if command := repeat(claim, folder):
        yield code(command)


def _rank(claim: ClaimCard) -> str:
    return " (primary)" if claim.primary else ""


def in_words(answer: Answer) -> str:
    """The answer in words: `supported`, or `inconclusive (n = 8; about 30 seeds for 80 % power)`."""
    pooled, expects_none = answer.pooled._replace(p=answer.p), answer.claim.expected == "equal"
    if answer.kind == "inconclusive" and pooled.kind != "inconclusive":
        return f"inconclusive (n = {pooled.difference.n}; not significant after Holm's correction)"
    if answer.kind in ("inconclusive", "depends on target step"):
        return undirected(pooled)
    if answer.kind == "no difference":
        return f"refuted: {undirected(pooled)}"
    if answer.kind == "opposite":
        return "refuted: " + ("there is a difference" if expects_none else "opposite")
    if answer.kind == "supported" and not expects_none and pooled.is_small:
        return f"supported (smaller than {pooled.margin:g})"
    return answer.kind


def summary(answers: Sequence[Answer]) -> str:
    """All answers in one sentence: `Of 10 claims: 4 supported (1, 4, 6, 7), ...`."""
    groups: dict[str, list[str]] = {}
    for number, answer in enumerate(answers, start=1):
        kind = "depends on the target step" if answer.kind == "depends on target step" else answer.kind
        groups.setdefault("refuted" if answer.kind in REFUTED else kind, []).append(str(number))
    parts = [f"{len(numbers)} {kind} ({', '.join(numbers)})" for kind, numbers in groups.items()]
    return f"Of {len(answers)} claim{'s' * (len(answers) > 1)}: {', '.join(parts)}."


def by_task(answer: Answer) -> str:
    """The verdict of each task: `lower in wugs (-0.12); inconclusive in noisy-rule (+0.02)`."""
    groups: dict[str, list[str]] = {}
    for task, judged in answer.tasks.items():
        kind = undirected(judged) if judged.kind in ("equal", "depends on target step") else judged.kind
        size = by_rank(judged) if judged.ranked else signed(judged.difference.mean)
        groups.setdefault(kind, []).append(f"{task} ({size})")
    return "; ".join(f"{kind} in {', '.join(tasks)}" for kind, tasks in groups.items())


def _rows(wanted: RowsCard) -> str:
    return f"{wanted.optimizer} {wanted.update}" + (f" at {wanted.size:g}x the items" if wanted.size != 1 else "")


def _numbers_in_words(answer: Answer) -> str:
    """`-0.11 [-0.13, -0.10], n = 8, p < .001`, the p-value where one decides."""
    text = f"{numbers(answer.pooled._replace(p=answer.p), answer.claim.score)}, n = {answer.pooled.difference.n}"
    how = "" if answer.pooled.paired else f" ({UNPAIRED})"
    is_decided = answer.pooled.kind in DECIDED and not answer.pooled.ranked
    return f"{text}, {p_value(answer.p)}{how}" if is_decided else text + how


def repeat(claim: ClaimCard, folder: Path | None) -> str | None:
    """The command that shows the comparison task by task; None where none does."""
    rows, than = claim.rows, claim.than
    if rows.update == than.update:
        words = [rows.optimizer, than.optimizer, "--update", rows.update]
    elif rows.optimizer == than.optimizer:
        words = [rows.update, than.update, "--optimizer", rows.optimizer]
    else:
        return None
    tasks = ["--task", ",".join(claim.tasks)] if claim.tasks else []
    out = ["--out", str(folder)] if folder else []
    return shlex.join(["synthbench", "compare", *words, "--columns", claim.score, *tasks, *out])


def as_rich(answers: Sequence[Answer]) -> Drawing:
    """For a terminal."""
    claims = [f"{number}. {prose(answer.claim.says)}" for number, answer in enumerate(answers, start=1)]
    return Drawing(
        [Column("claim", claims, least=30)],
        [Column("answer", [_answered(answer) for answer in answers], least=14),
         Column("difference", [_difference(answer) for answer in answers], is_right=True),
         Column("by task", ["; ".join(_details(answer)) for answer in answers], least=24)],
        breaks=range(len(answers) - 1),
    )  # fmt: skip


def _details(answer: Answer) -> list[str]:
    return [text for text in (by_task(answer), against_itself(answer.again, answer.claim.score)) if text]


def _answered(answer: Answer) -> str:
    how = elsewhere(answer.pooled) + " (unpaired)" * (not answer.pooled.paired)
    return inert(in_words(answer)) + _rank(answer.claim) + how


def _difference(answer: Answer) -> str:
    difference = answer.pooled.difference
    return Entry.of(difference, answer.claim.score, signed=True).text(difference.n) if answer.tasks else "-"


def records(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """For other programs: one dictionary a claim."""
    return [
        {
            **answer.claim.model_dump(mode="json", exclude={"tasks"}), "answer": answer.kind,
            **_numbers(answer.pooled, answer.claim.score), "p": answer.p,
            "tasks": {
                task: {"verdict": judged.kind, **_numbers(judged, answer.claim.score)}
                for task, judged in answer.tasks.items()
            },
            "missing": answer.missing,
            "again": {name: _numbers(judged, answer.claim.score) for name, judged in answer.again.items()},
        }
        for answer in answers
    ]  # fmt: skip


def _numbers(judged: Verdict, name: str) -> dict[str, Any]:
    mean, low, high, n = within(judged.difference, name, of_difference=True)
    return {"difference": rounded(mean), "low": rounded(low), "high": rounded(high), "n": n, "paired": judged.paired}
