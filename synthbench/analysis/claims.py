"""Claims: hypotheses on a runner's card, answered by the rows of an experiment.

A claim is about fixed tasks: its answer rests on the mean over tasks (and over values of axes that are pooled) of what it
contrasts, each task's from the seeds that it has, and holds for these tasks only. The verdict of each task stands beside
it. It is answered under each of its readings.

difference: the mean of row - other, paired over seeds (unpaired where the rows of any task are).
interaction: for two optimizers A and B, with AB finetuned by A on the base of B, the mean of AA - BA and BB - AB:
    finetuning with the optimizer that pretrained, less finetuning with the other one.
trend: by seed the slope along the axis, times the span of the axis.
dominates: better in one score (a difference) and, in another, not worse by the margin (one-sided, 5 %): both tests must
    pass, and the greater p-value counts (an intersection-union test).
inversion: by seed the share of pairs of values of the axis that are worse before and better after, less one half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Literal, NamedTuple

from synthbench.analysis import along, contrasted, given, verdict
from synthbench.analysis.again import again
from synthbench.analysis.along import Turn
from synthbench.analysis.contrast import Contrast
from synthbench.analysis.contrasted import Key
from synthbench.analysis.pairing import Pair, contrast
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import equivalence_p, holm, no_less_p, no_more_p
from synthbench.analysis.verdict import LEAST_SEEDS, LEVEL, Estimate, Verdict
from synthbench.cards import ClaimCard, RunnerCard
from synthbench.scores import SCORES
from synthbench.scores.reading import BETWEEN_RATES

Kind = Literal[
    "supported", "opposite", "no difference", "inconclusive", "depends on target step", "depends on reading",
    "not measured",
]  # fmt: skip
REFUTED: tuple[Kind, ...] = ("opposite", "no difference")


class Beside(NamedTuple):
    """The second score of a dominance. p: of the test that the rows are not worse by the margin. again: its A/A."""

    score: str
    pooled: Verdict
    p: float
    again: dict[str, Verdict]


class Reading(NamedTuple):
    """The answer to a claim under one reading. pooled: the verdict on the mean over tasks. p: of the test that decided it,
    of a primary claim's first reading adjusted for the other primary ones (Holm). tasks: the verdict of each task, at each
    value of axes that are pooled. missing: why tasks or values are left out. again: A/A, by optimizer: the same contrast
    with another salt of the optimizer in place of the other optimizer, or, along an axis, of its own rows. matrix: of an
    interaction the verdict of each two optimizers. beside: the second score of a dominance. turn: where a trend turns."""

    score: str
    kind: Kind
    pooled: Verdict
    p: float
    tasks: dict[str, Verdict]
    missing: dict[str, str]
    again: dict[str, Verdict]
    matrix: Mapping[str, Verdict] = {}
    beside: Beside | None = None
    turn: Turn | None = None


class Answer(NamedTuple):
    """The answer to a claim: that of its readings, where those that are measured agree."""

    claim: ClaimCard
    kind: Kind
    readings: list[Reading]

    @property
    def first(self) -> Reading:
        """The reading of the primary test."""
        return self.readings[0]

    @property
    def tasks(self) -> dict[str, Verdict]:
        """Of the first reading that was measured on any."""
        return next((reading.tasks for reading in self.readings if reading.tasks), {})


def answers(card: RunnerCard, rows: Sequence[Row]) -> list[Answer]:
    """The answer to every claim of a card, in its order."""
    read = [[KINDS[claim.kind](claim, score, card, rows) for score in claim.scores] for claim in card.claims]
    primary = [
        of_claim for claim, of_claim in zip(card.claims, read, strict=True) if claim.primary and of_claim[0].tasks
    ]
    for of_claim, p in zip(primary, holm([readings[0].p for readings in primary]), strict=True):
        of_claim[0] = _adjusted(of_claim[0], p)
    return [Answer(claim, _common(readings), readings) for claim, readings in zip(card.claims, read, strict=True)]


def _common(readings: Sequence[Reading]) -> Kind:
    """The answer over all readings; two ways to be refuted do not differ."""
    kinds = list(dict.fromkeys(reading.kind for reading in readings if reading.kind != "not measured"))
    does_depend = len(kinds) > 1 and not all(kind in REFUTED for kind in kinds)
    return "depends on reading" if does_depend else next(iter(kinds), "not measured")


def _adjusted(reading: Reading, p: float) -> Reading:
    """A reading with another p-value: what is decided must be significant."""
    is_open = reading.kind in ("supported", *REFUTED) and p >= LEVEL and reading.pooled.kind != "identical"
    return reading._replace(kind="inconclusive" if is_open else reading.kind, p=p)


def _difference(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> Reading:
    found = contrasted.pairs(claim, score, card, rows)
    reading = _judged(claim, score, card, found.parts, found.missing)
    return reading._replace(
        tasks=_by_task(found.parts, score, card), again=again(_sides(found.parts), score, rows, card)
    )


def _by_task(pairs: Mapping[Key, Pair], score: str, card: RunnerCard) -> dict[str, Verdict]:
    return {str(key): verdict.of(pair, score, card) for key, pair in pairs.items()}


def _sides(pairs: Mapping[Key, Pair]) -> list[list[Row]]:
    return [[pair[side] for pair in pairs.values()] for side in (0, 1)]


def _interaction(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> Reading:
    assert claim.matrix is not None
    found = contrasted.matrix_pairs(claim, claim.matrix, score, card, rows)
    estimate = _given(claim, score)
    reading = _judged(claim, score, card, found.parts, found.missing, estimate)
    twins = dict[str, Verdict]()
    for optimizer in claim.matrix.optimizers:
        for name in card.salted(optimizer):
            matrix = claim.matrix.model_copy(update={"optimizers": [optimizer, name]})
            if parts := contrasted.matrix_pairs(claim, matrix, score, card, rows).parts:
                twins[optimizer] = _pooled([*parts.values()], score, card, estimate)
    of_two, of_task = (_by(name, found.parts, score, card, estimate) for name in (_matrix, _stratum))
    return reading._replace(tasks=of_task, again=twins, matrix=of_two)


def _given(claim: ClaimCard, score: str) -> Estimate:
    """How an interaction is estimated: at equal values of a second score, if one is given."""
    if not claim.given:
        return contrast
    covariate = claim.under_readings(claim.given)[claim.scores.index(score)]
    return lambda parts, name, target_step: given.contrast(parts, name, covariate, target_step)


def _trend(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> Reading:
    found = contrasted.series(claim, score, card, rows, every=True)
    reading = _judged(claim, score, card, found.parts, found.missing, along.trend)
    turn = along.turn([*found.parts.values()], score)
    tasks = _by(_stratum, found.parts, score, card, along.trend)
    return reading._replace(tasks=tasks, again=_twins(claim, score, card, rows), turn=turn)


def _inversion(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> Reading:
    found, missing, estimate = (
        contrasted.series(claim, score, card, rows, every=False),
        dict[str, str](),
        _inverted(claim),
    )
    for key, part in found.parts.items():
        if (n := estimate([part], score, None).n) < LEAST_SEEDS:
            missing[str(key)] = f"bases differ in {claim.before} and after at {n} seeds"
    parts = {key: part for key, part in found.parts.items() if str(key) not in missing}
    reading = _judged(claim, score, card, parts, found.missing | missing, estimate)
    return reading._replace(tasks=_by(_stratum, parts, score, card, estimate), again=_twins(claim, score, card, rows))


def _inverted(claim: ClaimCard) -> Estimate:
    return lambda parts, name, target_step: along.inversions(parts, str(claim.before), name, target_step)


def _twins(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> dict[str, Verdict]:
    """What a claim along an axis finds of the same optimizer with another salt."""
    (side,), twins = claim.sides, dict[str, Verdict]()
    without = card.model_copy(update={"variants": {}})  # a twin has no twin
    for name in card.salted(side.optimizer):
        own = name if card.root(name) == name and side.base is None else side.base
        of_twin = claim.model_copy(update={"rows": side.model_copy(update={"optimizer": name, "base": own})})
        reading = KINDS[claim.kind](of_twin, score, without, rows)
        if reading.tasks:
            twins[side.name] = reading.pooled
    return twins


def _dominance(claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row]) -> Reading:
    other = claim.under_readings(str(claim.no_worse))[claim.scores.index(score)]
    first = contrasted.pairs(claim, score, card, rows)
    second = contrasted.pairs(claim, other, card, rows, at_bounds=True)
    missing = {key: f"{why} ({other})" for key, why in second.missing.items()} | first.missing
    both = [{key: found.parts[key] for key in first.parts if key in second.parts} for found in (first, second)]
    better = "lower" if SCORES[score].better == "down" else "higher"
    reading = _judged(claim.model_copy(update={"expected": better}), score, card, both[0], missing)
    reading = reading._replace(tasks=_by_task(both[0], score, card), again=again(_sides(both[0]), score, rows, card))
    return _and_no_worse(reading, [*both[1].values()], other, card, again(_sides(both[1]), other, rows, card))


def _and_no_worse(
    reading: Reading, pairs: Sequence[Pair], other: str, card: RunnerCard, twins: dict[str, Verdict]
) -> Reading:  # fmt: skip
    """A difference in one score, if in another the rows are not worse by the margin. Refuted where they are worse in the
    first one, or by the margin in the second."""
    margin = card.margins[SCORES[other].unit]
    p, reverse_p = _noninferiority(contrast(pairs, other), margin, is_up=SCORES[other].better == "up")
    beside = Beside(other, _pooled(pairs, other, card, contrast), p, twins)
    kind, decided = reading.kind, reading.p
    if beside.pooled.kind == "too few seeds" and pairs:
        kind = "not measured"
    elif kind not in REFUTED and reverse_p < LEVEL:
        kind, decided = "opposite", reverse_p
    elif kind == "supported":
        kind, decided = "supported" if p < LEVEL else "inconclusive", max(p, decided)
    return reading._replace(kind=kind, p=decided, beside=beside)


def _noninferiority(compared: Contrast, margin: float, *, is_up: bool) -> tuple[float, float]:
    """p-values: of the one-sided test that a contrast is not worse by the margin, and of the two-sided one, as of
    refutations elsewhere, that it is. is_up: whether lower is worse."""
    if is_up:
        return no_less_p(compared, -margin), 2 * no_more_p(compared, -margin)
    return no_more_p(compared, margin), 2 * no_less_p(compared, margin)


KINDS: dict[str, Callable[[ClaimCard, str, RunnerCard, Sequence[Row]], Reading]] = {
    "difference": _difference, "interaction": _interaction, "trend": _trend, "dominates": _dominance,
    "inversion": _inversion,
}  # fmt: skip


def _judged(
    claim: ClaimCard, score: str, card: RunnerCard, parts: Mapping[Key, Any], missing: dict[str, str],
    estimate: Estimate = contrast,
) -> Reading:  # fmt: skip
    """The answer from all parts of an estimate."""
    pooled = _pooled([*parts.values()], score, card, estimate)
    compared = estimate([*parts.values()], score, None)
    if claim.is_noninferiority and parts and pooled.is_test:
        margin = card.margins[SCORES[score].unit]
        p, worse_p = _noninferiority(compared, margin, is_up=claim.expected == "no lower")
        kind: Kind = "supported" if p < LEVEL else "opposite" if worse_p < LEVEL else "inconclusive"
        decided = worse_p if kind == "opposite" else p
        return Reading(score, kind, pooled._replace(margin=margin), decided, {}, missing, {})
    if claim.expected == "equal" and pooled.margin is not None and pooled.is_test:
        # who expects no difference asks first whether there is none beyond the margin, even where it is not 0
        pooled = pooled._replace(kind="equal") if equivalence_p(compared, pooled.margin) <= LEVEL else pooled
    p = equivalence_p(compared, pooled.margin) if pooled.kind == "equal" and pooled.margin else pooled.p
    return Reading(score, _kind(claim, pooled, p) if parts else "not measured", pooled, p, {}, missing, {})


def _stratum(key: Key) -> str:
    return key.stratum


def _matrix(key: Key) -> str:
    return key.matrix


def _pooled(parts: Sequence[Any], score: str, card: RunnerCard, estimate: Estimate) -> Verdict:
    """The verdict on the mean over parts, with what it is at other target steps."""
    compared = estimate(parts, score, None)
    margin = None if compared.is_flipped else card.margins.get(SCORES[score].unit)
    judged = verdict.verdict(compared, margin, _signs(parts, score, card, estimate))
    return verdict.with_elsewhere(judged, parts, score, card, estimate)


def _by(
    group: Callable[[Key], str], parts: Mapping[Key, Any], score: str, card: RunnerCard, estimate: Estimate
) -> dict[str, Verdict]:  # fmt: skip
    """The verdict on each group of parts."""
    names = dict.fromkeys(map(group, parts))
    return {
        name: _pooled([part for key, part in parts.items() if group(key) == name], score, card, estimate)
        for name in names
    }


def _signs(parts: Sequence[Any], name: str, card: RunnerCard, estimate: Estimate) -> set[bool]:
    """The signs of the mean estimate at the card's target steps. Where not all parts have a reading at a target step, those
    that have are compared with themselves at the card's own: a sign differs where it turns there."""
    steps = card.reading.target_steps if name.endswith(tuple(BETWEEN_RATES)) else ()
    means_at = partial(_means, parts, name, estimate=estimate)
    at_target, signs = means_at(card.reading.target_step) if steps else {}, set[bool]()
    for target_step in steps:
        at_step = means_at(target_step)
        if common := at_target.keys() & at_step.keys():
            here, there = (fmean(means[index] for index in common) > 0 for means in (at_target, at_step))
            signs |= {fmean(at_target.values()) > 0, (fmean(at_target.values()) > 0) is (here is there)}
    return signs


def _means(parts: Sequence[Any], name: str, target_step: int, estimate: Estimate) -> dict[int, float]:
    """Mean estimates at a target step, by index, of the parts that have readings there."""
    estimates = [estimate([part], name, target_step) for part in parts]
    return {index: compared.mean for index, compared in enumerate(estimates) if compared.n}


def _kind(claim: ClaimCard, pooled: Verdict, p: float) -> Kind:
    """p: of the test that decides."""
    if pooled.kind == "too few seeds":
        return "not measured"
    if pooled.kind == "depends on target step" or pooled.kind == "inconclusive":
        return pooled.kind
    if p >= LEVEL and pooled.kind != "identical":
        return "inconclusive"
    if pooled.kind in ("equal", "identical"):
        return "supported" if claim.expected == "equal" else "no difference"
    return "supported" if pooled.kind == (claim.expected or "higher") else "opposite"
