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


def recall(before: Point, after: Point, *, name: str) -> float:
    return exact_match(after, name)


def by_rule(before: Point, after: Point, *, name: str) -> float:
    """Share of a set's items that are answered by the rule, right or wrong."""
    return float(after.sets[name].by_rule_N.mean()) if name in after.sets else nan


def bucket_recall(before: Point, after: Point, *, bucket: int) -> float:
    trained = after.sets.get("new/fact/train")
    if trained is None or not (wanted := trained.bucket_N == bucket).any():
        return nan
    return float(trained.correct_N[wanted].mean())


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
    """Nats per answer token on the items of `validation_learning`: decides between equal rates."""
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
    Score("fact_recall", f"{MATCH}, on trained facts", "share", "0 to 1", "-", "arXiv 2309.14316", "point",
          partial(recall, name="new/fact/train")),
    Score("head_recall", f"{MATCH}, on the facts seen most often", "share", "0 to 1", "-", "arXiv 2509.26030", "point",
          partial(bucket_recall, bucket=HEAD)),
    Score("tail_recall", f"{MATCH}, on the facts seen least often", "share", "0 to 1", "-", "arXiv 2509.26030", "point",
          partial(bucket_recall, bucket=TAIL)),
    Score("exception_recall", f"{MATCH}, on trained exceptions to the rule", "share", "0 to 1", "-", "synthbench", "point",
          partial(recall, name="new/exception/train")),
    Score("overregularization", "share of trained exceptions answered by the rule", "share", "0 to 1", "down",
          "synthbench", "point", partial(by_rule, name="new/exception/train")),
    Score("noise_recall", f"{MATCH}, on trained items with a corrupted label", "share", "0 to 1", "-", "synthbench",
          "point", partial(recall, name="new/noise/train")),
    Score("rule_through_noise", "share of trained items with a corrupted label answered by the rule", "share", "0 to 1",
          "-", "synthbench", "point", partial(by_rule, name="new/noise/train")),
    Score("unseen_accuracy", f"{MATCH}, on rule items with a part that training never shows", "share", "0 to 1", "up",
          "synthbench", "point", partial(recall, name="new/rule/unseen")),
    Score("rule_fit", f"{MATCH}, on trained rule items", "share", "0 to 1", "up", "synthbench", "point",
          partial(recall, name="new/rule/train")),
    Score("rule_accuracy", f"{MATCH}, on held-out rule items (new combinations of seen parts)", "share", "0 to 1", "up",
          "Berko 1958", "point", partial(recall, name="new/rule/test")),
    Score("fit", "mean over the stage's slices of exact match on trained items", "share", "0 to 1", "up", "synthbench",
          "point", fit),
    Score("learning", "mean over new slices, noise left out: held-out rule accuracy, recall of facts and exceptions",
          "share", "0 to 1", "up", "synthbench", "point", learning),
    Score("validation_learning", "learning, its rule read on validation items: chooses learning rates", "share",
          "0 to 1", "up", "synthbench", "point", validation_learning, is_along=False),
    Score("validation_loss", "mean over slices of nats per answer token, facts trained, rules on validation items",
          "nats/token", "0 to inf", "down", "synthbench", "point", validation_loss, is_along=False),
    Score("rote_gap", "(rule_fit - its floor) - (rule_accuracy - its floor)", "share", "-2 to 2", "down", "synthbench",
          "point", rote_gap),
):  # fmt: skip
    register(score)
