"""What paired differences of a score decide, and the words for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf, isinf, nan
from statistics import stdev
from typing import Literal, NamedTuple

from synthbench.analysis.pairing import Pair, differences, sign
from synthbench.analysis.statistics import (
    MOST_SEEDS,
    Interval,
    detectable,
    equivalence_p,
    interval,
    paired_p,
    seeds_for_equivalence,
    seeds_needed,
)
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES

LEAST = 3  # paired seeds: of two, a difference may well be the same by chance
LEVEL = 0.05
Kind = Literal["higher", "lower", "equal", "identical", "undecided", "depends on target step", "too few seeds"]
DECIDED: tuple[Kind, ...] = ("higher", "lower")


class Verdict(NamedTuple):
    """What a score's paired differences decide.

    found: their mean with its 95 % interval. p: of the paired t test. margin: the largest difference that counts as none,
    None where the card has none for the score's unit. detectable: the difference that as many seeds tell with 80 % power.
    seeds: where undecided, that would tell a difference of the size found, or that it is smaller than the margin.
    """

    kind: Kind
    found: Interval
    p: float
    margin: float | None
    detectable: float
    seeds: float = nan


def verdict(paired: Sequence[float], margin: float | None, signs: Collection[bool] = ()) -> Verdict:
    """The verdict on paired differences. signs: of their mean at every target step that is read, True above 0.

    A direction where the 95 % interval excludes 0 (it depends on the target step where the sign is not the same at all of them),
    `equal` where an equivalence test at 5 % (the 90 % interval) keeps the mean within the margin, `identical` where every
    seed differs by 0, else undecided.
    """
    found, p = interval(paired), paired_p(paired)
    if found.n < LEAST:
        return Verdict("too few seeds", found, p, margin, inf)
    told = (found, p, margin, detectable(stdev(paired), found.n))
    if not any(paired):
        return Verdict("identical", *told)
    if found.excludes_zero:
        kind: Kind = "higher" if found.mean > 0 else "lower"
        return Verdict("depends on target step" if len(set(signs)) > 1 else kind, *told)
    if margin is not None and equivalence_p(paired, margin) <= LEVEL:
        return Verdict("equal", *told)
    if margin is None:
        return Verdict("undecided", *told, max(seeds_needed(paired), found.n + 1))
    fewest = min(
        seeds_needed(paired), seeds_for_equivalence(paired, margin)
    )  # to tell a difference, or that it is small
    return Verdict("undecided", *told, max(fewest, found.n + 1))


def of(pair: Pair, name: str, card: RunnerCard) -> Verdict:
    """The verdict on a score of two rows; readings `x@fit` at the card's target step, their signs at all of its target_steps."""
    paired = differences(pair.row.exact(name), pair.other.exact(name))
    signs = {sign(pair, name, target_step) for target_step in pair.row.target_steps.get(name, {})} - {None}
    return verdict(paired, card.margins.get(SCORES[name].unit), {one for one in signs if one is not None})


def direction(found: Verdict, name: str) -> str:
    """`better` or `worse`, and `higher` or `lower` of a score of which neither is better in itself."""
    better = {"up": "higher", "down": "lower", "-": None}[SCORES[name].better]
    return str(found.kind) if better is None else "better" if found.kind == better else "worse"


def words(found: Verdict, name: str, subject: str) -> str:
    """A verdict on a score as an entry of a table."""
    if found.kind in DECIDED:
        return f"{subject} {direction(found, name)}"
    if found.kind == "equal":
        return f"no difference larger than {found.margin:g}"
    if found.kind == "undecided":
        return f"undecided: {seeds(found)} would tell"
    if found.kind == "too few seeds":
        return f"needs {LEAST} seeds"
    return "no difference at any seed" if found.kind == "identical" else found.kind


def seeds(found: Verdict) -> str:
    """How many seeds it would take."""
    return f"more than {MOST_SEEDS} seeds" if isinf(found.seeds) else f"about {found.seeds:.0f} seeds"
