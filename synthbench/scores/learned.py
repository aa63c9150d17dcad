"""Scores of what a stage taught: facts stored, rule found, and how far fitting runs ahead of finding."""

from __future__ import annotations

from math import nan
from statistics import fmean

from synthbench.scores.observed import Point
from synthbench.scores.registry import Score, register

MATCH = "exact match of the whole answer, end token included"


def exact_match(point: Point, name: str) -> float:
    """Exact match on a set, NaN where the set is not observed."""
    return point.sets[name].exact_match if name in point.sets else nan


def fact_recall(before: Point, after: Point) -> float:
    return exact_match(after, "new/fact/train")


def rule_fit(before: Point, after: Point) -> float:
    return exact_match(after, "new/rule/train")


def rule_accuracy(before: Point, after: Point) -> float:
    return exact_match(after, "new/rule/test")


def fit(before: Point, after: Point) -> float:
    return fmean(exact_match(after, f"new/{name}/train") for name in after.slices("new"))


def learned(point: Point, split: str) -> float:
    """Mean over the new slices: facts on trained items, rules on the held-out items of a split."""
    names = [f"new/{name}/{'train' if name == 'fact' else split}" for name in point.slices("new")]
    return fmean(exact_match(point, name) for name in names)


def learning(before: Point, after: Point) -> float:
    return learned(after, "test")


def validation_learning(before: Point, after: Point) -> float:
    return learned(after, "validation")


def validation_loss(before: Point, after: Point) -> float:
    """Nats per answer token, facts on trained items, rules on validation items: what decides between equal rates."""
    names = [f"new/{name}/{'train' if name == 'fact' else 'validation'}" for name in after.slices("new")]
    if any(name not in after.sets for name in names):
        return nan
    return fmean(float(after.sets[name].nll_N.mean()) / after.sets[name].tokens for name in names)


def rote_gap(before: Point, after: Point) -> float:
    if "new/rule/test" not in after.sets:
        return nan
    trained, held_out = after.sets["new/rule/train"], after.sets["new/rule/test"]
    return (trained.exact_match - trained.floor) - (held_out.exact_match - held_out.floor)


for score in (
    Score("fact_recall", f"{MATCH}, on trained facts", "share", "0 to 1", "-", "arXiv 2309.14316", "point", fact_recall),
    Score("rule_fit", f"{MATCH}, on trained rule items", "share", "0 to 1", "up", "synthbench", "point", rule_fit),
    Score("rule_accuracy", f"{MATCH}, on held-out rule items (new combinations of seen parts)", "share", "0 to 1", "up",
          "Berko 1958", "point", rule_accuracy),
    Score("fit", "mean over the stage's slices of exact match on trained items", "share", "0 to 1", "up", "synthbench",
          "point", fit),
    Score("learning", "mean of new fact recall and held-out rule accuracy", "share", "0 to 1", "up", "synthbench", "point",
          learning),
    Score("validation_learning", "learning, its rule read on validation items: chooses learning rates", "share",
          "0 to 1", "up", "synthbench", "point", validation_learning),
    Score("validation_loss", "mean over slices of nats per answer token, facts trained, rules on validation items",
          "nats/token", "0 to inf", "down", "synthbench", "point", validation_loss),
    Score("rote_gap", "(rule_fit - its floor) - (rule_accuracy - its floor)", "share", "-2 to 2", "down", "synthbench",
          "point", rote_gap),
):  # fmt: skip
    register(score)
