"""Claims: what a runner's card says that somebody expects, answered by the rows of an experiment.

A claim is about fixed tasks: its answer rests on the mean over tasks of the differences, paired over seeds, and holds for
these tasks only. What each task says by itself stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from synthbench.analysis import verdict
from synthbench.analysis.pairing import Pair, by_seed, differences
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import equivalence_p, holm
from synthbench.analysis.tiers import incomplete
from synthbench.analysis.verdict import DECIDED, LEVEL, Verdict
from synthbench.cards import ClaimCard, RunnerCard
from synthbench.reporting.table import applies
from synthbench.scores import SCORES

Kind = Literal["supported", "opposite", "no difference", "undecided", "depends on target step", "not measured"]
REFUTED: tuple[Kind, ...] = ("opposite", "no difference")


class Answer(NamedTuple):
    """kind: what became of the claim. pooled: the verdict on the mean over tasks. p: of the test that decided it, of a
    primary claim adjusted for the other primary ones (Holm). tasks: the verdict of each task. missing: why tasks do not
    count. seeds: by task those that it lacks, and that are therefore missing of the mean over tasks."""

    claim: ClaimCard
    kind: Kind
    pooled: Verdict
    p: float
    tasks: dict[str, Verdict]
    missing: dict[str, str]
    seeds: dict[str, list[int]]


def answers(card: RunnerCard, rows: Sequence[Row]) -> list[Answer]:
    """The answer to every claim of a card, in its order."""
    found = [_answer(claim, card, rows) for claim in card.claims]
    primary = [place for place, one in enumerate(found) if one.claim.primary and one.tasks]
    for place, p in zip(primary, holm([found[place].p for place in primary]), strict=True):
        found[place] = found[place]._replace(kind=_kind(found[place].claim, found[place].pooled, p), p=p)
    return found


def _answer(claim: ClaimCard, card: RunnerCard, rows: Sequence[Row]) -> Answer:
    pairs, missing = _pairs(claim, card, rows)
    paired = [by_seed(pair.row.exact(claim.score), pair.other.exact(claim.score)) for pair in pairs.values()]
    common = set.intersection(*map(set, paired)) if paired else set()
    pooled = [fmean(one[seed] for one in paired) for seed in sorted(common)]
    margin = card.margins.get(SCORES[claim.score].unit)
    found = verdict.verdict(pooled, margin, _signs(list(pairs.values()), claim.score, card))
    found = _equal(found, pooled) if claim.expected == "equal" else found
    p = equivalence_p(pooled, found.margin) if found.kind == "equal" and found.margin else found.p
    tasks = {task: verdict.of(pair, claim.score, card) for task, pair in pairs.items()}
    lost = {task: sorted(set(card.seed_list) - set(one)) for task, one in zip(pairs, paired, strict=True)}
    kind = _kind(claim, found, p) if pairs else "not measured"
    return Answer(claim, kind, found, p, tasks, missing, {task: seeds for task, seeds in lost.items() if seeds})


def _pairs(claim: ClaimCard, card: RunnerCard, rows: Sequence[Row]) -> tuple[dict[str, Pair], dict[str, str]]:
    """By task the two rows that a claim is about; and of tasks without them, why."""
    found, missing = {}, {}
    for task in claim.tasks or dict.fromkeys(row.task for row in rows):
        sides = [[row for row in rows if row.task == task and _is_meant(row, one)] for one in (claim.rows, claim.than)]
        meant = [row for side in sides for row in side]
        if not all(sides):
            missing[task] = "no rows"
        elif len(meant) > 2:
            missing[task] = "several rows of one name"
        elif not any(applies(claim.score, row) for row in meant):
            missing[task] = "has no such score"
        elif why := next((why for row in meant if (why := incomplete(row, claim.score, card.seed_list))), None):
            missing[task] = why
        elif len(told := {value for row in meant for value in row.values[claim.score].values()}) == 1:
            missing[task] = f"{told.pop():.2f} at every seed of both"  # a score on its bound tells nothing apart
        else:
            found[task] = Pair(*meant)
    return found, missing


def _is_meant(row: Row, wanted: object) -> bool:
    return all(getattr(row, name) == value for name, value in vars(wanted).items())


def _signs(pairs: Sequence[Pair], name: str, card: RunnerCard) -> set[bool]:
    """The signs of the mean difference at the card's target_steps. Where not all tasks have a reading at a target step, those that have
    are compared with themselves at the card's own: a sign differs where it turns there."""
    own, signs = _means(pairs, name, card.reading.target_step), set[bool]()
    for target_step in card.reading.target_steps if name.endswith("@fit") else ():
        other = _means(pairs, name, target_step)
        if common := own.keys() & other.keys():
            here, there = (fmean(means[place] for place in common) > 0 for means in (own, other))
            signs |= {fmean(own.values()) > 0, (fmean(own.values()) > 0) is (here is there)}
    return signs


def _means(pairs: Sequence[Pair], name: str, target_step: int) -> dict[int, float]:
    """Mean differences at a target step, by place, of the pairs that have readings there."""
    read = {place: differences(*(row.target_steps.get(name, {}).get(target_step, {}) for row in pair))
            for place, pair in enumerate(pairs)}  # fmt: skip
    return {place: fmean(one) for place, one in read.items() if one}


def _equal(found: Verdict, pooled: Sequence[float]) -> Verdict:
    """Of those who expect no difference the first question is whether there is none beyond the margin."""
    is_equal = (
        found.margin is not None and len(pooled) >= verdict.LEAST and equivalence_p(pooled, found.margin) <= LEVEL
    )
    return found._replace(kind="equal") if is_equal else found


def _kind(claim: ClaimCard, found: Verdict, p: float) -> Kind:
    """p: the p-value that counts, adjusted where the claim is primary."""
    if found.kind in ("depends on target step", "undecided"):
        return "depends on target step" if found.kind == "depends on target step" else "undecided"
    if found.kind == "too few seeds":
        return "not measured"
    if found.kind == "identical":
        return "supported" if claim.expected == "equal" else "no difference"
    if p >= LEVEL:
        return "undecided"
    if found.kind == "equal":
        return "supported" if claim.expected == "equal" else "no difference"
    assert found.kind in DECIDED
    return "supported" if found.kind == claim.expected else "opposite"
