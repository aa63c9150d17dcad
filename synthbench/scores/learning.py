"""Scores of what a stage taught: facts stored, rule found, and how far fitting runs ahead of finding."""

from __future__ import annotations

from functools import partial
from math import nan
from statistics import fmean

from synthbench.scores.observations import HEAD, TAIL, Point
from synthbench.scores.registry import Score, register

MATCH = "exact match of the whole answer, end token included"


def exact_match(point: Point, name: str) -> float:
    """Exact match on a set, NaN where the set is not observed."""
    return point.sets[name].exact_match if name in point.sets else nan


def fact_recall(before: Point, after: Point) -> float:
    return exact_match(after, "new/fact/train")


def exception_recall(before: Point, after: Point) -> float:
    return exact_match(after, "new/exception/train")


def noise_recall(before: Point, after: Point) -> float:
    return exact_match(after, "new/noise/train")


def bucket_recall(before: Point, after: Point, *, bucket: int) -> float:
    trained = after.sets.get("new/fact/train")
    if trained is None or not (wanted := trained.bucket_N == bucket).any():
        return nan
    return float(trained.correct_N[wanted].mean())


def overregularization(before: Point, after: Point) -> float:
    irregular = after.sets.get("new/exception/train")
    return float(irregular.by_rule_N.mean()) if irregular is not None else nan


def rule_through_noise(before: Point, after: Point) -> float:
    corrupted = after.sets.get("new/noise/train")
    return float(corrupted.by_rule_N.mean()) if corrupted is not None else nan


def rule_fit(before: Point, after: Point) -> float:
    return exact_match(after, "new/rule/train")


def rule_accuracy(before: Point, after: Point) -> float:
    return exact_match(after, "new/rule/test")


def unseen_accuracy(before: Point, after: Point) -> float:
    return exact_match(after, "new/rule/unseen")


def fit(before: Point, after: Point) -> float:
    return fmean(exact_match(after, f"new/{name}/train") for name in after.slices("new"))


def learned(point: Point, split: str) -> float:
    """Mean over the new slices that a user wants learned: rules on the held-out items of a split, others on trained ones,
    noise not at all."""
    names = [f"new/{name}/{split if name == 'rule' else 'train'}" for name in point.slices("new") if name != "noise"]
    return fmean(exact_match(point, name) for name in names)


def learning(before: Point, after: Point) -> float:
    return learned(after, "test")


def validation_learning(before: Point, after: Point) -> float:
    return learned(after, "validation")


def validation_loss(before: Point, after: Point) -> float:
    """Nats per answer token on what `validation_learning` looks at: decides between equal rates."""
    names = [
        f"new/{name}/{'validation' if name == 'rule' else 'train'}" for name in after.slices("new") if name != "noise"
    ]
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
    Score("head_recall", f"{MATCH}, on the facts seen most often", "share", "0 to 1", "-", "arXiv 2509.26030", "point",
          partial(bucket_recall, bucket=HEAD)),
    Score("tail_recall", f"{MATCH}, on the facts seen least often", "share", "0 to 1", "-", "arXiv 2509.26030", "point",
          partial(bucket_recall, bucket=TAIL)),
    Score("exception_recall", f"{MATCH}, on trained exceptions to the rule", "share", "0 to 1", "-", "synthbench", "point",
          exception_recall),
    Score("overregularization", "share of trained exceptions answered by the rule", "share", "0 to 1", "down",
          "synthbench", "point", overregularization),
    Score("noise_recall", f"{MATCH}, on trained items with a corrupted label", "share", "0 to 1", "-", "synthbench",
          "point", noise_recall),
    Score("rule_through_noise", "share of trained items with a corrupted label answered by the rule", "share", "0 to 1",
          "-", "synthbench", "point", rule_through_noise),
    Score("unseen_accuracy", f"{MATCH}, on rule items with a part that training never shows", "share", "0 to 1", "up",
          "synthbench", "point", unseen_accuracy),
    Score("rule_fit", f"{MATCH}, on trained rule items", "share", "0 to 1", "up", "synthbench", "point", rule_fit),
    Score("rule_accuracy", f"{MATCH}, on held-out rule items (new combinations of seen parts)", "share", "0 to 1", "up",
          "Berko 1958", "point", rule_accuracy),
    Score("fit", "mean over the stage's slices of exact match on trained items", "share", "0 to 1", "up", "synthbench",
          "point", fit),
    Score("learning", "mean over new slices, noise left out: held-out rule accuracy, recall of facts and exceptions",
          "share", "0 to 1", "up", "synthbench", "point", learning),
    Score("validation_learning", "learning, its rule read on validation items: chooses learning rates", "share",
          "0 to 1", "up", "synthbench", "point", validation_learning),
    Score("validation_loss", "mean over slices of nats per answer token, facts trained, rules on validation items",
          "nats/token", "0 to inf", "down", "synthbench", "point", validation_loss),
    Score("rote_gap", "(rule_fit - its floor) - (rule_accuracy - its floor)", "share", "-2 to 2", "down", "synthbench",
          "point", rote_gap),
):  # fmt: skip
    register(score)
