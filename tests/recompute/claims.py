"""Answers to the claims of a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.recompute.contrasts import Pair, Verdict, contrast, is_incomplete, is_unfair, verdict
from tests.recompute.readings import bounded
from tests.recompute.rows import Row, is_like
from tests.recompute.runs import Object
from tests.recompute.statistics import LEVEL, Contrast, holm


@dataclass
class Answer:
    """pooled: the verdict on the mean over tasks, None without any. p: adjusted where the claim is primary. pairs: the
    rows compared, by task."""

    claim: Object
    pairs: dict[str, Pair]
    pooled: Verdict | None = None
    p: float = 1.0

    @property
    def kind(self) -> str:
        if self.pooled is None or self.pooled.kind == "too few seeds":
            return "not measured"
        kind = "equal" if self.pooled.kind == "identical" else self.pooled.kind
        if kind in ("depends on target step", "inconclusive"):
            return kind
        if self.p >= LEVEL and self.pooled.kind != "identical":
            return "inconclusive"
        return "supported" if kind == self.claim["expected"] else "no difference" if kind == "equal" else "opposite"


def answers(card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> list[Answer]:
    """Of every claim, in the card's order."""
    found = [_answer(claim, card, rows, seeds) for claim in card.get("claims", [])]
    primary = [answer for answer in found if answer.claim.get("primary") and answer.pairs]
    for answer, p in zip(primary, holm([answer.p for answer in primary]), strict=True):
        answer.p = p
    return found


def _answer(claim: Object, card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> Answer:
    answer, name = Answer(claim, dict(_pairs(claim, card, rows, seeds))), claim["score"]
    if not answer.pairs:
        return answer
    pooled = answer.pooled = verdict([*answer.pairs.values()], name, card)
    answer.p = pooled.p
    if pooled.is_test and pooled.margin is not None and "equal" in (claim["expected"], pooled.kind):
        p = pooled.found.equivalence(pooled.margin)
        pooled.kind, answer.p = ("equal", p) if p <= LEVEL else (pooled.kind, answer.p)
    return answer


def _pairs(claim: Object, card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> Iterator[tuple[str, Pair]]:
    """The two rows of each task that can be compared."""
    name = claim["score"]
    for task in claim.get("tasks") or dict.fromkeys(row.task for row in rows):
        meant = [row for side in ("rows", "than") for row in rows if row.task == task and _is_meant(row, claim[side])]
        if len(meant) != 2 or any(is_incomplete(row, name, seeds) for row in meant):
            continue
        same = len({value for row in meant for value in bounded(row, name).values()}) == 1
        if not same and not is_unfair((meant[0], meant[1]), name, card):
            yield task, (meant[0], meant[1])


def _is_meant(row: Row, wanted: Object) -> bool:
    meant = wanted["optimizer"], wanted.get("update", "full"), wanted.get("size", 1)
    return (row.optimizer, row.update, row.size) == meant


def again(name: str, answer: Answer, card: Object, rows: Sequence[Row]) -> Contrast:
    """A/A: the named optimizer's rows of a claim less those of its variant with another salt."""
    optimizer, _, update = name.partition(" ")
    salted = next(other for other, v in card["variants"].items() if v["of"] == optimizer and v.get("salt"))
    compared = [row for pair in answer.pairs.values() for row in pair if row.optimizer == optimizer]
    others = [row for row in rows if row.optimizer == salted and update in ("", row.update)]
    pairs = [(row, other) for row in compared for other in others if is_like(row, other, ("base", "optimizer"))]
    return contrast(pairs, answer.claim["score"])
