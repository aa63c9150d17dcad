"""Exported runs: scores of one that follow from others."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from statistics import fmean
from typing import Any

Object = dict[str, Any]
RECALL = {"fact": "fact_recall", "rule": "rule_fit", "exception": "exception_recall", "noise": "noise_recall"}
HELD_OUT = {"fact": "fact_recall", "rule": "rule_accuracy", "exception": "exception_recall"}
FORGOTTEN = {"fact": "fact_forgetting", "rule": "skill_forgetting"}
UNMOVED = (
    "forgetting",
    "loss_forgetting",
    "overwritten",
    "lost",
    "kl_new",
    "update_norm.hidden",
    "update_norm.embedding",
)


def curve(run: Object, name: str) -> dict[int, float]:
    """A score by step."""
    return {point["step"]: point["scores"].get(name, nan) for point in run["path"]}


def derived(run: Object, parent: Object | None) -> Iterator[tuple[str, float, float]]:
    """Name, recomputed and published value of such scores, at every point of the path and at the end."""
    end = {name: value for name, value in run["scores"].items() if value is not None}
    slices, path = [name for name, score in RECALL.items() if score in end], [point["scores"] for point in run["path"]]
    old = [name for name in FORGOTTEN if parent and FORGOTTEN[name] in end and name in parent["examples"]]
    for scores in (*path, end):
        yield "fit", fmean(scores[RECALL[name]] for name in slices), scores["fit"]
        yield "learning", fmean(scores[HELD_OUT[name]] for name in slices if name in HELD_OUT), scores["learning"]
        if old:
            yield "forgetting", fmean(scores[FORGOTTEN[name]] for name in old), scores["forgetting"]
        if "kept" in scores:
            yield "kept", 1 - scores["overwritten"] - scores["lost"], scores["kept"]
        if "rote_gap" in scores:  # the floors are those of whole sets, and stay
            floors = end["rote_gap"] - end["rule_fit"] + end["rule_accuracy"]
            yield "rote_gap", scores["rule_fit"] - scores["rule_accuracy"] + floors, scores["rote_gap"]
    for name in path[0].keys() & UNMOVED:
        yield f"{name} at step 0", 0.0, path[0][name]
    if old and parent:
        lost, known = [*curve(run, "forgetting").values()], fmean(parent["scores"][HELD_OUT[name]] for name in old)
        yield "forgetting_from_peak", lost[-1] - min(lost), end["forgetting_from_peak"]
        if known:
            yield "retention", 1 - end["forgetting"] / known, end["retention"]
