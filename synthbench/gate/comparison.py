"""What a check found, line by line, at each of its three levels, and the verdict on all of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Literal, NamedTuple

from synthbench.analysis.change_test import Decision, Verdict, decide, is_torn
from synthbench.gate.baseline import BehaviourCard, TraceCard
from synthbench.gate.behaviour import unit

if TYPE_CHECKING:
    from synthbench.gate.traces import Trace

Level = Literal["exact", "trace", "behaviour"]
LEVELS: tuple[Level, ...] = ("exact", "trace", "behaviour")
PARTED = 0.1  # of a mean loss
TRACE_TIMES = 20  # a floor: the deviation from which a trace has changed
MOST = 0.25  # a threshold above which a trace decides nothing: rounding alone leads it so far apart


class Line(NamedTuple):
    """One quantity compared. where: STAGE/UPDATE. difference: of means, or the largest relative deviation of a trace, with
    its 95 % interval (none of a trace); allowed: up to where it has not changed. step: of a trace, the first beyond what is
    allowed (from 1; 0 is none). n: seeds. seeds: how many would tell."""

    where: str
    what: str
    verdict: Verdict
    difference: float
    allowed: float
    n: int
    before: float = nan
    after: float = nan
    low: float = nan
    high: float = nan
    step: int = 0
    seeds: float = nan


def overall(lines: Sequence[Line]) -> Verdict:
    """Changed where one line changed, unchanged where all are, else could not tell; nothing compared tells nothing."""
    verdicts = {line.verdict for line in lines}
    if "changed" in verdicts:
        return "changed"
    return "unchanged" if verdicts == {"unchanged"} else "could not tell"


def exact(before: TraceCard, digests: Mapping[str, Sequence[str]]) -> list[Line]:
    """Traces of the same seeds, bit by bit: losses, norms and last weights."""
    found = []
    for where, own in before.digests.items():
        parted = sum(one != other for one, other in zip(own, digests[where], strict=True))
        verdict: Verdict = "changed" if parted else "unchanged"
        found.append(Line(where, "bits", verdict, float(parted), 0.0, len(own)))
    return found


def blind(before: TraceCard) -> list[str]:
    """The cells in which some quantity's trace decides nothing."""
    return [where for where, floors in before.floors.items() if TRACE_TIMES * max(floors.values()) > MOST]


def traces(before: TraceCard, after: Sequence[Trace]) -> list[Line]:
    """The largest relative deviation of each quantity from what was recorded, against a multiple of its floor."""
    import numpy as np

    from synthbench.gate.traces import deviation

    found = []
    for trace in after:
        for what, own in before.values[trace.name].items():
            recorded_TK = np.array(own, dtype=float).T
            apart_T = deviation(trace.values[what], recorded_TK)
            allowed = TRACE_TIMES * before.floors[trace.name][what]
            verdict: Verdict = "unchanged" if allowed <= MOST else "could not tell"
            beyond = np.flatnonzero(apart_T > allowed)
            if len(beyond):
                verdict = "changed"
            step = int(beyond[0]) + 1 if len(beyond) else 0
            found.append(Line(trace.name, what, verdict, float(apart_T.max()), allowed, len(own), step=step))
    return found


def behaviour(before: BehaviourCard, after: BehaviourCard, seeds: Collection[int]) -> list[Line]:
    """Scores of these seeds, and how many of them diverged. What only one side has tells nothing."""
    found = []
    for where, own in before.values.items():
        others = after.values.get(where, {})
        was, now = ({*card.diverged.get(where, [])} & {*seeds} for card in (before, after))
        sound = {*seeds} - was - now
        for what in {**own, **others}:
            sides = own.get(what, {}), others.get(what, {})
            one = decide(*sides, before.noise[where].get(what, nan), unit(what))
            lost = sum((seed in sides[0]) != (seed in sides[1]) for seed in sound)
            is_lost = one.verdict == "unchanged" and is_torn(lost, len(sound))
            found.append(_line(where, what, one._replace(verdict="could not tell") if is_lost else one))
        found.append(diverged(where, was, now, len(seeds)))
    return found


def parting(before: BehaviourCard, after: BehaviourCard) -> str | None:
    """Where training losses part, in a sentence: in the first cell in which they do by a tenth, the first such part."""
    for where, curve in before.curves.items():
        now = after.curves.get(where, [])
        for part, (one, other) in enumerate(zip(curve, now, strict=False)):
            if abs(other - one) > PARTED * one:
                at = f"{100 * part / len(curve):.0f} % of {where}"
                return f"Training losses part at {at}: {one:.3g} before, {other:.3g} after."
    return None


def diverged(where: str, before: Collection[int], after: Collection[int], seeds: int) -> Line:
    """Whether other seeds diverged than before: changed where all do now and none did, or so many moved one way that a coin
    would not show it (McNemar's exact test), unchanged where none did."""
    from scipy.stats import binomtest

    newly, no_more = len({*after} - {*before}), len({*before} - {*after})
    verdict: Verdict = "could not tell" if newly + no_more else "unchanged"
    if newly + no_more and (newly == seeds or binomtest(newly, newly + no_more).pvalue < 0.05):
        verdict = "changed"
    return Line(where, "diverged", verdict, float(len(after) - len(before)), 0.0, seeds, len(before), len(after))


def _line(where: str, what: str, one: Decision) -> Line:
    return Line(
        where, what, one.verdict, one.difference, one.bound, one.n, one.before, one.after, one.low, one.high,
        seeds=one.seeds,
    )  # fmt: skip
