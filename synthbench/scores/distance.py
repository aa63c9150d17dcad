"""Scores of how far a stage moved the model: in what it says about new prompts, and in its weights."""

from __future__ import annotations

from functools import partial
from math import nan

from synthbench.scores.observations import Point
from synthbench.scores.registry import Score, register

GROUPS = ("hidden", "embedding", "vector")


def kl_new(before: Point, after: Point) -> float:
    asked = after.sets.get("new/rule/test")
    return float(asked.kl_N.mean()) if asked is not None and len(asked.kl_N) else nan


def update_norm(before: Point, after: Point, *, group: str) -> float:
    return after.moved.get(group, nan)


register(
    Score("kl_new", "KL(before || after) over the vocabulary floored at 1e-4, summed over the answer's tokens, on "
          "held-out new prompts", "nats/answer", "0 to inf", "-", "arXiv 2509.04259", "point", kl_new)
)  # fmt: skip
for group in GROUPS:
    register(
        Score(f"update_norm.{group}", f"norm of the change of the {group} parameters / their norm before", "ratio",
              "0 to inf", "-", "arXiv 2605.10468", "point", partial(update_norm, group=group))
    )  # fmt: skip
