"""Two rows compared, over tasks: whether they can be, paired or not, and what their difference decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan
from statistics import fmean
from typing import Any

from tests.recompute.readings import ENOUGH, bounded, values
from tests.recompute.rows import Row
from tests.recompute.runs import Object
from tests.recompute.scores import margin, unit
from tests.recompute.statistics import LEAST_SEEDS, LEVEL, RESOLUTION, Contrast, less

Pair = tuple[Row, Row]
Pairs = Sequence[Pair]


def is_paired(row: Row, other: Row) -> bool:
    """Whether both start from the same models, or from none, and one same device measured them."""
    parents = [{run["seed"]: run["parent"] for run in side.runs} for side in (row, other)]
    same = all(parents[0][seed] == parents[1][seed] for seed in parents[0].keys() & parents[1].keys())
    return same and row.device == other.device and " + " not in row.device


def contrast(pairs: Pairs, name: str, target: float | None = None) -> Contrast:
    """row - other over pairs, one a task; paired, of the seeds that both have, where all pairs are."""
    paired = all(is_paired(*pair) for pair in pairs)
    sides = [[bounded(row, name, target) for row in side] for side in zip(*pairs, strict=True)]
    if paired:
        common = [sorted(a.keys() & b.keys()) for a, b in zip(*sides, strict=True)]
        sides = [[{s: task[s] for s in seeds} for task, seeds in zip(side, common, strict=True)] for side in sides]
    differences = [{seed: less(a[seed], b[seed]) for seed in a} for a, b in zip(*sides, strict=True)] if paired else []
    found = Contrast([differences] if paired else sides, ranked=name.endswith("@t"), resolution=resolution(name))
    found.sides = sides
    return found


def resolution(name: str) -> float:
    return RESOLUTION if unit(name) == "share" else 0.0


class Verdict:
    """On a contrast. signs: of its mean at the target steps. seeds: what it would take, where inconclusive."""

    def __init__(self, found: Contrast, margin: float | None, signs: set[bool]) -> None:
        self.found, self.margin, self.p = found, None if found.ranked else margin, found.p()
        self.kind, self.seeds, self.detectable = "inconclusive", nan, inf
        self.low, self.high = found.interval()
        if found.fewest < LEAST_SEEDS:
            self.kind = "too few seeds"
            return
        self.detectable = inf if found.ranked else found.detectable()
        if found.nothing:
            self.kind = "identical"
        elif self.p < LEVEL if found.ranked else self.low > 0 or self.high < 0:
            self.kind = "depends on target step" if len(signs) > 1 else "higher" if found.is_above() else "lower"
        elif self.margin is not None and found.equivalence(self.margin) <= LEVEL:
            self.kind = "equal"
        elif not found.ranked:
            mean = abs(found.mean)
            sought = [([mean], 0.975)] + ([([self.margin - mean, self.margin + mean], 0.95)] if self.margin else [])
            self.seeds = max(min(found.seeds(*wanted) for wanted in sought), found.n + 1)

    @property
    def is_test(self) -> bool:
        return self.kind not in ("too few seeds", "not comparable")


def verdict(pairs: Pairs, name: str, card: Object) -> Verdict:
    """The verdict on the mean over pairs, one a task."""
    return judged(pairs, lambda some, target: contrast(some, name, target), name, card)


def judged(
    units: Sequence[Any], of: Callable[..., Contrast], name: str, card: Object, *, is_row: bool = True
) -> Verdict:
    """The verdict on what is contrasted in units (of each task one), at the target step and whether its sign turns. is_row:
    whether one unit is two rows, which have no sign at a target step where they do not differ."""
    signs, own = set[bool](), {unit: of([unit], None) for unit in units}
    for step in card["reading"]["target_steps"] if is_read_between_rates(name) else ():
        there = {unit: found for unit in units if (found := of([unit], step)).n and own[unit].n}
        if there and not (
            is_row and len(units) == 1 and there[units[0]].nothing
        ):  # of tasks without a reading the sign stays
            turns = (fmean(at[unit].mean for unit in there) > 0 for at in (own, there))
            here = fmean(found.mean for found in own.values() if found.n) > 0
            signs |= {here, here is (next(turns) is next(turns))}
    return Verdict(of(units, None), margin(name, card), signs)


def is_read_between_rates(name: str) -> bool:
    return name.endswith(("@fit", "@fits"))


def is_incomplete(row: Row, name: str, seeds: Sequence[int]) -> bool:
    """Whether a row has too few of the card's seeds in a score: of a reading 80 %, at the end all."""
    known = values(row, name).keys()
    too_few = len(known) < max(LEAST_SEEDS, ENOUGH * len(seeds))
    return bool(set(seeds) - set(row.seeds)) or too_few or ("@" not in name and bool(set(seeds) - known))


def alike(trials: Sequence[int], others: Sequence[int], card: Object) -> bool:
    """Whether as many learning rates were tried in each stage; extended grids count as equal."""
    return all(abs(a - b) <= s.get("extend", 0) for a, b, s in zip(trials, others, card["stages"], strict=True))


def is_unfair(pair: Pair, name: str, card: Object) -> bool:
    """Whether the rows were not tuned alike, or a rate that the score depends on lies at the edge of its grid."""
    at_edge = any(is_at_edge(row, name) for row in pair)
    return at_edge or not alike(pair[0].trials, pair[1].trials, card)


def is_at_edge(row: Row, name: str) -> bool:
    return row.edge_before or (row.edge and not is_read_between_rates(name) and not name.endswith("@base"))
