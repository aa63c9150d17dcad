"""Scores of finished models: measured by probes (`probes = [...]` on a runner's card) at the end of each stage.

What a probe measures stands among the observations of a run's last point, by the name of the score. Each is also read
`@base`: of the model that a run starts from.
"""

from __future__ import annotations

from functools import partial
from math import nan
from typing import Literal

from synthbench.scores.observations import Point
from synthbench.scores.registry import Score, register

STAGE = "measured at the end of a stage"
BASE = "@base"
MEASURED: list[str] = []  # the scores that probes measure
LAYERS = 4  # of which each has a score of its own


def probed(before: Point, after: Point, *, name: str) -> float:
    """What a probe measured, NaN where the card asks for none, or it does not apply."""
    return after.moved.get(name, nan)


def probe_score(
    name: str, formula: str, unit: str, span: str, source: str, better: Literal["up", "down", "-"] = "-"
) -> None:
    """Registers a score that a probe measures, and its reading of the base."""
    register(Score(name, formula, unit, span, better, source, "point", partial(probed, name=name), is_along=False))
    MEASURED.append(name)
    words = f"{name} of the model that finetuning starts from, at the end of its pretraining"
    register(Score(f"{name}{BASE}", words, unit, span, better, source, "cell"))


def by_layer(name: str, formula: str, unit: str, span: str, source: str) -> None:
    """The same for the mean over layers, and for each of the first layers."""
    probe_score(name, f"{formula}; mean over layers", unit, span, source)
    for layer in range(LAYERS):
        probe_score(f"{name}.{layer}", f"{formula}, after layer {layer}", unit, span, source)


register(
    Score(f"validation_loss{BASE}", "validation_loss of the model that finetuning starts from, after pretraining",
          "nats/token", "0 to inf", "down", "synthbench", "cell")
)  # fmt: skip
