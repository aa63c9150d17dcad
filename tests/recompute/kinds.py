"""What each kind of claim contrasts under one reading, of each task and place its pairs or its line; what is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any, NamedTuple

from tests.recompute import along
from tests.recompute.contrasts import alike, contrast, is_at_edge, is_incomplete, is_unfair
from tests.recompute.given import given
from tests.recompute.places import Place, own_base, places, salted, there
from tests.recompute.ranks import usual
from tests.recompute.readings import bounded, values
from tests.recompute.rows import Row
from tests.recompute.runs import Object
from tests.recompute.scores import ends, margin
from tests.recompute.statistics import Contrast

LEAST_VALUES = 3  # of an axis, where an inversion leaves some out
Make = Callable[[Sequence[Any], float | None], Contrast]


class Key(NamedTuple):
    """of: two optimizers of a matrix. base: one of them."""

    place: str
    of: str = ""
    base: str = ""


@dataclass
class Found:
    """units: pairs of rows, or lines. missing: labels of what is left out. make: the contrast of units at a target step."""

    make: Make
    units: dict[Key, Any] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


class Case(NamedTuple):
    """A claim under one reading. name: the score that is read; second: that which is held equal, or the base's."""

    claim: Object
    name: str
    second: str
    card: Object
    rows: Sequence[Row]
    seeds: Sequence[int]

    @property
    def tasks(self) -> Sequence[str]:
        return self.claim.get("tasks") or list(dict.fromkeys(row.task for row in self.rows))

    def meant(self, place: Place, side: Object) -> list[Row]:
        """Rows on the base that is named, or on the optimizer's own; without these any other."""
        if side.get("base"):
            return there(self.rows, place, side["optimizer"], side["base"])
        own = there(self.rows, place, side["optimizer"], own_base(self.card, side["optimizer"]))
        return own or there(self.rows, place, side["optimizer"])

    @property
    def expects_none(self) -> bool:
        """Whether the claim is that rows do not differ, or none is worse."""
        return str(self.claim.get("expected")).partition(" ")[0] in ("equal", "no")

    def is_bound(self, rows: Sequence[Row]) -> bool:
        """Whether all seeds of these rows have one value, which is an answer only to a claim of no difference."""
        return not self.expects_none and len({value for row in rows for value in bounded(row, self.name).values()}) == 1

    def is_pair(self, sides: Sequence[Sequence[Row]], *, at_bounds: bool = False) -> bool:
        """Whether each side has one row, and the two can be compared."""
        if [len(side) for side in sides] != [1, 1]:
            return False
        (row,), (other,) = sides
        lacks = any(is_incomplete(one, self.name, self.seeds) for one in (row, other))
        is_bound = not at_bounds and self.is_bound((row, other))
        return not lacks and not is_bound and not is_unfair((row, other), self.name, self.card)


def two(case: Case, *, at_bounds: bool = False) -> Found:
    """Of a difference and of a dominance: `rows` less `than`."""
    found = Found(lambda pairs, target: contrast(pairs, case.name, target))
    sides = [case.claim["rows"], case.claim["than"]]
    for spots in zip(*(places(side, case.tasks) for side in sides), strict=True):
        both = [case.meant(spot, side) for spot, side in zip(spots, sides, strict=True)]
        if case.is_pair(both, at_bounds=at_bounds):
            found.units[Key(spots[0].label)] = both[0][0], both[1][0]
        else:
            found.missing.add(spots[0].label)
    return found if at_bounds else _off_bounds(case, found, [row for pair in found.units.values() for row in pair])


def matrix(case: Case, optimizers: Sequence[str]) -> Found:
    """Of an interaction: on each of two bases the optimizer that pretrained less the other one."""
    make: Make = partial(_given, case) if case.second else lambda pairs, target: contrast(pairs, case.name, target)
    found = Found(make)
    for place in places(case.claim["matrix"], case.tasks):
        for a, b in combinations(optimizers, 2):
            halves = {
                own: [there(case.rows, place, name, own) for name in (own, other)] for own, other in ((a, b), (b, a))
            }
            if all(case.is_pair(both) for both in halves.values()):
                units = {Key(place.label, f"{a} and {b}", own): (r[0], o[0]) for own, (r, o) in halves.items()}
                found.units |= units
            else:
                found.missing.add(f"{place.label}, {a} and {b}")
    return _off_bounds(case, found, [row for pair in found.units.values() for row in pair])


def _off_bounds(case: Case, found: Found, rows: Sequence[Row]) -> Found:
    """Nothing where a claim of a difference has only rows whose means are, but for a margin, at one end of the range."""
    least = margin(case.name, case.card)
    if least is None or case.expects_none:
        return found
    means = [fmean(values(row, case.name).values()) for row in rows]
    if not any(all(abs(mean - end) <= least for mean in means) for end in ends(case.name)):
        return found
    names = {f"{key.place}, {key.of}" if key.of else key.place for key in found.units}
    return Found(found.make, {}, found.missing | names)


def _given(case: Case, pairs: Sequence[Any], target: float | None) -> Contrast:
    return given(pairs, case.name, case.second, target)


def lines(case: Case, side: Object) -> Found:
    """Of a trend and of an inversion: the rows along the axis."""
    is_trend, axis, lines = case.claim["kind"] == "trend", case.claim["axis"], dict[Key, along.Line]()
    scale, missing = case.claim.get("scale", "linear"), set[str]()
    for place in places(side, case.tasks, axis):
        named = side.get("axes", {}).get(axis)
        rows = [row for row in case.meant(place, side) if named is None or row.coordinates.get(axis) in named]
        by_value = {row.coordinates[axis]: row for row in rows}
        kept = {float(x): row for x, row in by_value.items() if not _lacks(case, row, rows)}
        missing |= {f"{place.label}, {axis} {x:g}" for x in by_value.keys() - kept.keys()}
        least = len(by_value) if is_trend else min(LEAST_VALUES, len(by_value))
        if len(kept) < max(2, least) or len(by_value) < len(rows) or case.is_bound([*kept.values()]):
            missing.add(place.label)
        else:
            lines[Key(place.label)] = along.line(kept, scale)
    length = along.span([*lines.values()]) if lines else 0.0
    found = Found(lambda some, target: along.trend(some, case.name, length, target), dict(lines), missing)
    if not is_trend:
        found.make = lambda some, target: along.inversion(some, case.name, case.second, target)
    found = _off_bounds(case, found, [row for line in lines.values() for _, row in line.rows])
    few = {key for key, line in found.units.items() if not is_trend and found.make([line], None).n < 3}
    found.missing |= {key.place for key in few}  # of an inversion: seeds with a pair that differs in both
    found.units = {key: line for key, line in found.units.items() if key not in few}
    return found


def _lacks(case: Case, row: Row, rows: Sequence[Row]) -> bool:
    """Whether a row was not measured, has its best rate at an edge, or was not tuned like most along the axis."""
    is_unlike = not alike(row.trials, usual(rows), case.card)
    return is_unlike or is_at_edge(row, case.name) or is_incomplete(row, case.name, case.seeds)


def twins(case: Case, pairs: Sequence[tuple[Row, Row]]) -> Mapping[str, list[tuple[Row, Row]]]:
    """A/A of compared rows: each of these less that of the optimizer's salted variant."""
    found, is_of_updates = dict[str, list[tuple[Row, Row]]](), len({row.update for pair in pairs for row in pair}) > 1
    is_one_base = all(a.base == b.base for a, b in pairs)
    for rows in zip(*pairs, strict=True):
        for name in salted(case.card, rows[0].optimizer):
            label = rows[0].name + f" {rows[0].update}" * is_of_updates
            alike = [(row, twin) for row in rows if (twin := _twin(case, row, name, is_one_base))]
            others = [(row, twin) for row in rows if (twin := _twin(case, row, name, not is_one_base))]
            if alike:
                found[label] = alike
            elif others:
                found[label + (" on its own models" if is_one_base else " on one model")] = others
    return found


def _twin(case: Case, row: Row, name: str, is_one_base: bool) -> Row | None:
    """The salted row at the same place: on the same pretrained model, or on one that the salted variant pretrained."""
    base = row.base if is_one_base or row.base != row.optimizer else name
    alike = [other for other in case.rows if (other.optimizer, other.base) == (name, base)
             and (other.task, other.update, other.axes) == (row.task, row.update, row.axes)]  # fmt: skip
    return alike[0] if alike else None
