"""Claims: hypotheses on a runner's card, answered by the rows of an experiment.

A claim is about fixed tasks: its answer rests on the mean over tasks of the differences, each task's from the seeds that
it has, paired over seeds (unpaired where the rows of any task are), and holds for these tasks only. The verdict of each
task stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf
from statistics import fmean
from typing import Literal, NamedTuple

from synthbench.analysis import verdict
from synthbench.analysis.again import again
from synthbench.analysis.fairness import unfair
from synthbench.analysis.pairing import Pair, contrast, values
from synthbench.analysis.ranks import incomplete
from synthbench.analysis.rows import Row, applies
from synthbench.analysis.statistics import equivalence_p, holm
from synthbench.analysis.verdict import LEVEL, Verdict
from synthbench.cards import ClaimCard, RunnerCard
from synthbench.scores import SCORES
from synthbench.scores.reading import BETWEEN_RATES

Kind = Literal["supported", "opposite", "no difference", "inconclusive", "depends on target step", "not measured"]
REFUTED: tuple[Kind, ...] = ("opposite", "no difference")


class Answer(NamedTuple):
    """The answer to a claim. pooled: the verdict on the mean over tasks. p: of the test that decided it, of a primary claim
    adjusted for the other primary ones (Holm). tasks: the verdict of each task. missing: why tasks are left out.
    again: of the compared optimizers that are on the card with another salt, the verdict on the two (A/A)."""

    claim: ClaimCard
    kind: Kind
    pooled: Verdict
    p: float
    tasks: dict[str, Verdict]
    missing: dict[str, str]
    again: dict[str, Verdict]


def answers(card: RunnerCard, rows: Sequence[Row]) -> list[Answer]:
    """The answer to every claim of a card, in its order."""
    results = [_answer(claim, card, rows) for claim in card.claims]
    primary = [index for index, answer in enumerate(results) if answer.claim.primary and answer.tasks]
    for index, p in zip(primary, holm([results[index].p for index in primary]), strict=True):
        results[index] = results[index]._replace(kind=_kind(results[index].claim, results[index].pooled, p), p=p)
    return results


def _answer(claim: ClaimCard, card: RunnerCard, rows: Sequence[Row]) -> Answer:
    pairs, missing = _pairs(claim, card, rows)
    compared = contrast([*pairs.values()], claim.score)
    margin = card.margins.get(SCORES[claim.score].unit)
    pooled = verdict.verdict(compared, margin, _signs(list(pairs.values()), claim.score, card))
    if claim.expected == "equal" and pooled.margin is not None and pooled.is_test:
        # who expects no difference asks first whether there is none beyond the margin, even where it is not 0
        pooled = pooled._replace(kind="equal") if equivalence_p(compared, pooled.margin) <= LEVEL else pooled
    pooled = verdict.with_elsewhere(pooled, list(pairs.values()), claim.score, card)
    p = equivalence_p(compared, pooled.margin) if pooled.kind == "equal" and pooled.margin else pooled.p
    tasks = {task: verdict.of(pair, claim.score, card) for task, pair in pairs.items()}
    kind = _kind(claim, pooled, p) if pairs else "not measured"
    both = [[pair[side] for pair in pairs.values()] for side in (0, 1)]
    return Answer(claim, kind, pooled, p, tasks, missing, again(both, claim.score, rows, card))


def _pairs(claim: ClaimCard, card: RunnerCard, rows: Sequence[Row]) -> tuple[dict[str, Pair], dict[str, str]]:
    """By task the two rows that a claim is about; and of tasks without them, why."""
    pairs, missing = {}, {}
    for task in claim.tasks or dict.fromkeys(row.task for row in rows):
        sides = [
            [row for row in rows if row.task == task and _is_meant(row, side)] for side in (claim.rows, claim.than)
        ]
        meant = [row for side in sides for row in side]
        if not all(sides):
            missing[task] = "no rows"
        elif len(meant) > 2:
            missing[task] = "several rows of one name"
        elif not any(applies(claim.score, row) for row in meant):
            missing[task] = "has no such score"
        elif unlike := unfair(Pair(*meant), claim.score, card):
            missing[task] = unlike
        elif why := next((why for row in meant if (why := incomplete(row, claim.score, card.seed_list))), None):
            missing[task] = why
        elif len(found := {value for row in meant for value in values(row, claim.score).values()}) == 1:
            missing[task] = _everywhere(found.pop())
        else:
            pairs[task] = Pair(*meant)
    return pairs, missing


def _everywhere(value: float) -> str:
    """What a score is that is the same at every seed of both rows: at an end of its range, or of what was measured."""
    if isinf(value):
        return "reached at no seed" if value > 0 else "reached from the first on at every seed"
    return f"{value:.2f} at every seed of both"


def _is_meant(row: Row, wanted: object) -> bool:
    return all(getattr(row, name) == value for name, value in vars(wanted).items())


def _signs(pairs: Sequence[Pair], name: str, card: RunnerCard) -> set[bool]:
    """The signs of the mean difference at the card's target steps. Where not all tasks have a reading at a target step,
    those that have are compared with themselves at the card's own: a sign differs where it turns there."""
    at_target, signs = _means(pairs, name, card.reading.target_step), set[bool]()
    for target_step in card.reading.target_steps if name.endswith(tuple(BETWEEN_RATES)) else ():
        at_step = _means(pairs, name, target_step)
        if common := at_target.keys() & at_step.keys():
            here, there = (fmean(means[index] for index in common) > 0 for means in (at_target, at_step))
            signs |= {fmean(at_target.values()) > 0, (fmean(at_target.values()) > 0) is (here is there)}
    return signs


def _means(pairs: Sequence[Pair], name: str, target_step: int) -> dict[int, float]:
    """Mean differences at a target step, by index, of the pairs that have readings there."""
    contrasts = [contrast([pair], name, target_step) for pair in pairs]
    return {index: compared.mean for index, compared in enumerate(contrasts) if compared.n}


def _kind(claim: ClaimCard, pooled: Verdict, p: float) -> Kind:
    """p: the p-value that counts, adjusted where the claim is primary."""
    if pooled.kind == "too few seeds":
        return "not measured"
    if pooled.kind == "depends on target step" or pooled.kind == "inconclusive":
        return pooled.kind
    if p >= LEVEL and pooled.kind != "identical":
        return "inconclusive"
    if pooled.kind in ("equal", "identical"):
        return "supported" if claim.expected == "equal" else "no difference"
    return "supported" if pooled.kind == claim.expected else "opposite"
