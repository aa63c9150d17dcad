"""Scores of what a stage made the model forget: pretraining knowledge, before it and after."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import nan
from statistics import fmean
from typing import Literal

from synthbench.scores.observations import Point
from synthbench.scores.registry import Score, register


def probe_set(slice_name: str) -> str:
    """The set that shows whether a pretraining slice is still known: rules by held-out items, others by trained ones."""
    return f"old/{slice_name}/{'test' if slice_name == 'rule' else 'train'}"


def accuracy_drop(before: Point, after: Point, *, name: str) -> float:
    return before.sets[name].exact_match - after.sets[name].exact_match if name in after.sets else nan


def fate(before: Point, after: Point, *, of: Literal["kept", "overwritten", "lost"]) -> float:
    """What became of the pretraining rule's held-out items that were right before: kept, answered by the new rule, or lost
    to something else. The three sum to one."""
    name = probe_set("rule")
    if name not in after.sets or not (known_N := before.sets[name].correct_N).any():
        return nan
    kept_N = after.sets[name].correct_N
    by_new_rule_N = after.sets[name].by_rule_N & ~kept_N
    share = {"kept": kept_N, "overwritten": by_new_rule_N, "lost": ~kept_N & ~by_new_rule_N}
    return float(share[of][known_N].mean())


def forgetting(before: Point, after: Point) -> float:
    slices = after.slices("old")
    return fmean(accuracy_drop(before, after, name=probe_set(name)) for name in slices) if slices else nan


def retention(before: Point, after: Point) -> float:
    slices = after.slices("old")
    known = fmean(before.sets[probe_set(name)].exact_match for name in slices) if slices else 0.0
    return fmean(after.sets[probe_set(name)].exact_match for name in slices) / known if known else nan


def loss_forgetting(before: Point, after: Point) -> float:
    names = [probe_set(name) for name in after.slices("old")]
    return fmean(after.sets[name].capped_nll - before.sets[name].capped_nll for name in names) if names else nan


def forgetting_from_peak(path: Mapping[int, Mapping[str, float]]) -> float:
    """What was known at the best point of the path less what is known at its end (known: before - forgetting)."""
    lost = [scores.get("forgetting", nan) for _, scores in sorted(path.items())]
    return lost[-1] - min(lost) if lost and all(value == value for value in lost) else nan


for score in (
    Score("forgetting", "mean over pretraining slices of exact match before - after (facts trained, rules held out)",
          "share", "-1 to 1", "down", "arXiv 2605.02105, on exact match", "point", forgetting),
    Score("fact_forgetting", "exact match before - after on pretraining facts", "share", "-1 to 1", "down", "synthbench",
          "point", partial(accuracy_drop, name=probe_set("fact"))),
    Score("skill_forgetting", "exact match before - after on held-out items of the pretraining rule", "share", "-1 to 1",
          "down", "synthbench", "point", partial(accuracy_drop, name=probe_set("rule"))),
    Score("kept", "share of the pretraining rule's held-out items, right before, that still are", "share", "0 to 1", "up",
          "synthbench", "point", partial(fate, of="kept")),
    Score("overwritten", "share of the pretraining rule's held-out items, right before, that the new rule answers now",
          "share", "0 to 1", "down", "synthbench", "point", partial(fate, of="overwritten")),
    Score("lost", "share of the pretraining rule's held-out items, right before, that are now neither right nor answered "
          "by the new rule", "share", "0 to 1", "down", "synthbench", "point", partial(fate, of="lost")),
    Score("retention", "mean exact match on pretraining slices after / before", "share", "0 to inf", "up", "synthbench",
          "point", retention),
    Score("loss_forgetting", "capped loss on pretraining slices after - before", "nats/token", "-inf to inf", "down",
          "arXiv 2605.02105", "point", loss_forgetting),
    Score("forgetting_from_peak", "greatest over the path - at its end, of the mean exact match on pretraining slices "
          "(grows with noise)", "share", "0 to 1", "down", "synthbench", "path", forgetting_from_peak),
):  # fmt: skip
    register(score)
