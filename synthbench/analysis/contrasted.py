"""Which rows a claim contrasts, by stratum (a task, at values of the axes that are pooled); what is left out, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import isinf, log2
from statistics import fmean
from typing import Generic, Literal, NamedTuple, TypeVar

from synthbench.analysis.fairness import at_edge, unfair, unlike_most
from synthbench.analysis.pairing import Pair, values_of
from synthbench.analysis.ranks import incomplete
from synthbench.analysis.rows import ON, Row, applies, on_axis
from synthbench.cards import ClaimCard, MatrixCard, RowsCard, RunnerCard
from synthbench.cards.claim import AxisValue, PlaceCard
from synthbench.scores import SCORES

Place = tuple[tuple[str, AxisValue], ...]  # values of axes, by label
NO_ROWS, NO_SCORE = "no rows", "has no such score"
LEAST_VALUES = 3  # of an axis, of which some are left out


class Key(NamedTuple):
    """A part of an estimate. stratum: a task, with its place. matrix: two optimizers, as `adamw and muon`. base: one of
    them."""

    stratum: str
    matrix: str = ""
    base: str = ""

    def __str__(self) -> str:
        return f"{self.stratum}, {self.matrix}" if self.matrix else self.stratum


class Series(NamedTuple):
    """Rows along an axis, by its value in order. span: between the least and the greatest value of the whole claim, on this
    scale."""

    rows: Mapping[float, Row]
    scale: Literal["linear", "log"] = "linear"
    span: float = 1.0

    def position(self, value: float) -> float:
        """Where a value lies on the scale."""
        return log2(value) if self.scale == "log" else value


T = TypeVar("T", Pair, Series)


class Found(NamedTuple, Generic[T]):
    """What is estimated from, by key; and of strata or of values that are left out, why."""

    parts: dict[Key, T]
    missing: dict[str, str]


def meant(wanted: RowsCard, rows: Sequence[Row], card: RunnerCard, along: str | None = None) -> list[Row]:
    """The rows that a claim names: those on the optimizer's own base, if the card says no other and there are any. along:
    an axis of which all values are meant."""
    named = [
        row for row in rows
        if (row.optimizer, row.update) == (wanted.optimizer, wanted.update) and wanted.has(row.coordinates, along)
    ]  # fmt: skip
    if wanted.base is not None:
        return [row for row in named if {*row.base} == {wanted.base} or "/".join(row.base) == wanted.base]
    return [row for row in named if {*row.base} <= {card.root(wanted.optimizer)}] or named


def _strata(place: PlaceCard, claim: ClaimCard, rows: Sequence[Row]) -> Iterator[tuple[str, Place, list[Row]]]:
    """Names, places on the axes that are pooled, and the rows of all strata."""
    pooled = {label: values for label, values in place.pooled.items() if label != claim.axis}
    for task in claim.tasks or dict.fromkeys(row.task for row in rows):
        for values in product(*pooled.values()):
            at = tuple(zip(pooled, values, strict=True))
            there = [row for row in rows if row.task == task and at_place(row, at)]
            yield ", ".join([task, *(on_axis(label, value) for label, value in at)]), at, there


def at_place(row: Row, place: Place) -> bool:
    return all(row.coordinates.get(label) == value for label, value in place)


def pairs(
    claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row], *, at_bounds: bool = False
) -> Found[Pair]:  # fmt: skip
    """The two rows of every stratum. at_bounds: also where a score has one value at every seed."""
    found, at_bounds = Found[Pair]({}, {}), at_bounds or claim.expects_none
    for stratum, _, there in _strata(claim.sides[0], claim, rows):
        both = [meant(side, there, card) for side in claim.sides]
        if why := _fault(both, score, card, at_bounds=at_bounds):
            found.missing[stratum] = why
        else:
            found.parts[Key(stratum)] = Pair(both[0][0], both[1][0])
    return found if at_bounds else _off_bounds(found, score, card, claim)


def matrix_pairs(
    claim: ClaimCard, matrix: MatrixCard, score: str, card: RunnerCard, rows: Sequence[Row]
) -> Found[Pair]:  # fmt: skip
    """For each two optimizers and every stratum two pairs, one on the base of each: finetuned by the optimizer that
    pretrained the base, and by the other. Where one of the four rows lacks something, none is used."""
    found = Found[Pair]({}, {})
    settings = matrix.model_dump(exclude={"optimizers"})
    for two in combinations(matrix.optimizers, 2):
        name = " and ".join(two)
        for stratum, _, there in _strata(matrix, claim, rows):
            halves = {}
            for own, other in (two, two[::-1]):
                wanted = (RowsCard(optimizer=optimizer, base=own, **settings) for optimizer in (own, other))
                halves[own] = [meant(side, there, card) for side in wanted]
            faults = {
                own: why
                for own, both in halves.items()
                if (why := _fault(both, score, card, at_bounds=claim.expects_none))
            }
            if faults:
                own, why = next(iter(faults.items()))
                found.missing[str(Key(stratum, name))] = f"{why}{ON}{own}" if why[0].isdigit() else why
            else:
                found.parts.update({Key(stratum, name, own): Pair(a, b) for own, ((a,), (b,)) in halves.items()})
    return _off_bounds(found, score, card, claim)


def _off_bounds(found: Found[T], score: str, card: RunnerCard, claim: ClaimCard) -> Found[T]:
    """What is found, or nothing of it where the mean of every row lies within the margin of one bound of the score: rows
    that forget everything, or find nothing, differ by nothing that matters. Whoever claims that they do not differ, or no
    row is worse, is answered there, too."""
    margin = card.margins.get(SCORES[score].unit)
    if margin is None or claim.expects_none:
        return found
    rows = [row for part in found.parts.values() for row in (part if isinstance(part, Pair) else part.rows.values())]
    means = [fmean(values_of(row, score).values()) for row in rows]
    for bound in map(float, SCORES[score].range.split(" to ")):
        if all(abs(mean - bound) <= margin for mean in means):
            why = f"every mean within {margin:g} of the bound {bound:g}"
            return Found({}, {str(key): why for key in found.parts} | found.missing)
    return found


def _fault(sides: Sequence[Sequence[Row]], score: str, card: RunnerCard, *, at_bounds: bool = False) -> str | None:
    """Why two rows (by side those that are meant) are not compared in a score."""
    both = [row for side in sides for row in side]
    if not all(sides):
        return NO_ROWS
    if several := next((side for side in sides if len(side) > 1), None):
        return _several(several)
    if not any(applies(score, row) for row in both):
        return NO_SCORE
    if why := unfair(Pair(*both), score, card) or _incomplete(both, score, card):
        return why
    return None if at_bounds else _constant(both, score, "both")


def _incomplete(rows: Sequence[Row], score: str, card: RunnerCard) -> str | None:
    return next((why for row in rows if (why := incomplete(row, score, card.seed_list))), None)


def _several(rows: Sequence[Row]) -> str:
    """What rows of one name differ in, for a claim to name."""
    labels = [label for label in rows[0].coordinates if len({row.coordinates.get(label) for row in rows}) > 1]
    return f"several rows of one name{': they differ in ' * bool(labels)}{' and '.join(labels)}"


def _constant(rows: Sequence[Row], score: str, which: str) -> str | None:
    """That a score is at its bound in all rows."""
    values = {value for row in rows for value in values_of(row, score).values()}
    if len(values) != 1:
        return None
    (value,) = values
    if isinf(value):
        return "reached at no seed" if value > 0 else "reached from the first on at every seed"
    return f"{value:.2f} at every seed of {which}"


def series(
    claim: ClaimCard, score: str, card: RunnerCard, rows: Sequence[Row], *, every: bool
) -> Found[Series]:  # fmt: skip
    """The rows along a claim's axis, of every stratum. A value at which the row lacks something is left out; every: the
    stratum is, for the slope of a curve depends on which of its values are there."""
    found, axis = Found[Series]({}, {}), str(claim.axis)
    for stratum, _, there in _strata(claim.sides[0], claim, rows):
        along = meant(claim.sides[0], there, card, axis)
        if why := _no_series(along, score, claim):
            found.missing[stratum] = why
            continue
        by_value = {float(row.coordinates[axis]): row for row in along}
        lacking = _lacking(by_value, score, card)
        found.missing.update({f"{stratum}, {on_axis(axis, value)}": why for value, why in lacking.items()})
        kept = {value: by_value[value] for value in sorted(by_value) if value not in lacking}
        if len(kept) < (len(by_value) if every else min(LEAST_VALUES, len(by_value))):
            found.missing[stratum] = f"measured at {len(kept)} of {len(by_value)} values of {axis}"
        elif why := _constant([*kept.values()], score, "all"):
            found.missing[stratum] = why
        else:
            found.parts[Key(stratum)] = Series(kept, claim.scale)
    positions = [part.position(value) for part in found.parts.values() for value in part.rows]
    span = max(positions, default=0.0) - min(positions, default=0.0)
    spanned = Found({key: part._replace(span=span) for key, part in found.parts.items()}, found.missing)
    return _off_bounds(spanned, score, card, claim)


def _no_series(rows: Sequence[Row], score: str, claim: ClaimCard) -> str | None:
    """Why rows are no series along a claim's axis."""
    axis = str(claim.axis)
    if not rows:
        return NO_ROWS
    values = [row.coordinates[axis] for row in rows if axis in row.coordinates]
    numbers = [value for value in values if not isinstance(value, str)]
    if len(values) < len(rows):
        return f"its rows have no axis {axis}"
    if len(numbers) < len(values):
        return f"{axis} has values that are no numbers"
    if claim.scale == "log" and min(numbers) <= 0:
        return f"{axis} has the value {min(numbers):g}, which has no logarithm"
    if several := [row for row in rows if values.count(row.coordinates[axis]) > 1]:
        return _several([row for row in several if row.coordinates[axis] == several[0].coordinates[axis]])
    if len(rows) < 2:
        return f"one value of {axis}"
    return None if any(applies(score, row) for row in rows) else NO_SCORE


def _lacking(rows: Mapping[float, Row], score: str, card: RunnerCard) -> dict[float, str]:
    """By value of an axis why its row cannot be compared with the others."""
    values = [*rows]
    reasons = {values[index]: why for index, why in unlike_most([*rows.values()], card).items()}
    for value, row in rows.items():
        if why := incomplete(row, score, card.seed_list) or at_edge(row, score):
            reasons.setdefault(value, why)
    return reasons
