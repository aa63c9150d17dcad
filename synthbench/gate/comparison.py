"""A check line by line, at each of its three levels, and the verdict on all lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Literal, NamedTuple

from synthbench.analysis.change_test import Verdict, decide, is_torn
from synthbench.gate.baseline import BehaviourCard, TraceCard
from synthbench.gate.behaviour import unit

if TYPE_CHECKING:
    from synthbench.gate.traces import Trace

Level = Literal["exact", "trace", "behaviour"]
LEVELS: tuple[Level, ...] = ("exact", "trace", "behaviour")
DIVERGED_BY = 0.1  # of a mean loss
TRACE_TIMES = 20  # a floor: the deviation from which a trace has changed
MOST = 0.25  # a threshold above which a trace is uninformative: rounding error dominates


class Line(NamedTuple):
    """One quantity compared. where: STAGE/UPDATE. difference: of means, with its 95 % interval, or the largest relative
    deviation of a trace; allowed: its bound. n: seeds. step: of a trace, the first beyond the bound (from 1; 0 is none).
    seeds: estimated number for 80 % power."""

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
    """Changed where a line changed, unchanged where all are, else inconclusive, as with no lines at all."""
    verdicts = {line.verdict for line in lines}
    if "changed" in verdicts:
        return "changed"
    return "unchanged" if verdicts == {"unchanged"} else "inconclusive"


def exact(before: TraceCard, digests: Mapping[str, Sequence[str]]) -> list[Line]:
    """Traces of the same seeds, bit by bit: losses, norms and last weights."""
    lines = []
    for where, recorded in before.digests.items():
        differing = sum(old != new for old, new in zip(recorded, digests[where], strict=True))
        lines.append(Line(where, "bits", "changed" if differing else "unchanged", float(differing), 0.0, len(recorded)))
    return lines


def uninformative(before: TraceCard) -> list[str]:
    """The cells in which the trace of some quantity is uninformative."""
    return [where for where, floors in before.floors.items() if TRACE_TIMES * max(floors.values()) > MOST]


def traces(before: TraceCard, after: Sequence[Trace]) -> list[Line]:
    """The largest relative deviation of each quantity from what was recorded, against a multiple of its floor."""
    import numpy as np

    from synthbench.gate.traces import deviation

    lines = []
    for trace in after:
        for what, rows in before.values[trace.name].items():
            apart_T = deviation(trace.values[what], np.array(rows, dtype=float).T)
            allowed = TRACE_TIMES * before.floors[trace.name][what]
            beyond = np.flatnonzero(apart_T > allowed) + 1
            verdict: Verdict = "changed" if len(beyond) else "unchanged" if allowed <= MOST else "inconclusive"
            step = int(beyond[0]) if len(beyond) else 0
            lines.append(Line(trace.name, what, verdict, float(apart_T.max()), allowed, len(rows), step=step))
    return lines


def behaviour(before: BehaviourCard, after: BehaviourCard, seeds: Collection[int]) -> list[Line]:
    """Scores of these seeds, and how many of them diverged. A score that only one side has is inconclusive."""
    lines = []
    for where, scores in before.values.items():
        others = after.values.get(where, {})
        was, now = ({*card.diverged.get(where, [])} & {*seeds} for card in (before, after))
        valid = {*seeds} - was - now
        for what in {**scores, **others}:
            old, new = scores.get(what, {}), others.get(what, {})
            decision = decide(old, new, before.noise[where].get(what, nan), unit(what))
            lost = sum((seed in old) != (seed in new) for seed in valid)
            if decision.verdict == "unchanged" and is_torn(lost, len(valid)):
                decision = decision._replace(verdict="inconclusive")
            lines.append(Line(where, what, **decision._asdict()))
        lines.append(diverged(where, was, now, len(seeds)))
    return lines


def divergence(before: BehaviourCard, after: BehaviourCard) -> str | None:
    """A sentence on where training losses diverge: the first cell, and the first part of it in which they do by a tenth."""
    for where, curve in before.curves.items():
        now = after.curves.get(where, [])
        for part, (old, new) in enumerate(zip(curve, now, strict=False)):
            if abs(new - old) > DIVERGED_BY * old:
                at = f"{100 * part / len(curve):.0f} % of {where}"
                return f"Training losses diverge at {at}: {old:.3g} before, {new:.3g} after."
    return None


def diverged(where: str, before: Collection[int], after: Collection[int], seeds: int) -> Line:
    """Whether other seeds diverged than before: changed where all do now and none did, or so many moved one way that a coin
    would not show it (McNemar's exact test), unchanged where none did."""
    from scipy.stats import binomtest

    newly, no_more = len({*after} - {*before}), len({*before} - {*after})
    verdict: Verdict = "inconclusive" if newly + no_more else "unchanged"
    if newly + no_more and (newly == seeds or binomtest(newly, newly + no_more).pvalue < 0.05):
        verdict = "changed"
    return Line(where, "diverged", verdict, float(len(after) - len(before)), 0.0, seeds, len(before), len(after))
