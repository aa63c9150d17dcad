"""A small model, small data and small fleets for the trainer's tests.

Shapes: K runs, N items, L tokens, T steps, B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from synthbench.cards import MODELS, ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from synthbench.trainer.loop import Data, order, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule

MODEL = ModelCard(width=32, layers=2, head_width=8)
GPT2 = ModelCard(width=32, layers=2, head_width=8, norm="layernorm", positions="learned", mlp="gelu", tied=True)
SWIGLU = ModelCard(width=32, layers=2, head_width=8, mlp="swiglu")
STYLES = MODELS | {"small": MODEL, "small-gpt2": GPT2, "small-swiglu": SWIGLU}
VOCABULARY, LENGTH, ITEMS, BATCH = 20, 9, 24, 8
CPU = torch.device("cpu")


class Run(NamedTuple):
    """A run; its seed determines weights, adapters and data."""

    seed: int
    lr: float
    weight_decay: float


class Trained(NamedTuple):
    fleet: Fleet
    curve_TK: NDArray[np.float32]


def data(seeds_K: Sequence[int], steps: int, batch: int = BATCH) -> Data:
    """Random tokens; the last one to four of each item are its answer."""
    tokens, answers, orders = [], [], []
    for seed in seeds_K:
        generator = np.random.default_rng([seed, 0])
        tokens.append(generator.integers(VOCABULARY, size=(ITEMS, LENGTH), dtype=np.int32))
        answers.append(np.arange(LENGTH) >= LENGTH - generator.integers(1, 5, size=(ITEMS, 1)))
        orders.append(order({"all": (np.ones(ITEMS, dtype=np.int16), batch)}, steps, generator))
    return Data(np.stack(tokens), np.stack(answers), np.stack(orders))


def fleet(seeds_K: Sequence[int], update: str = "full", model: ModelCard = MODEL) -> Fleet:
    """A fleet with initial weights, one seed per run."""
    layout = layouts.transformer(model, VOCABULARY, LENGTH - 1)
    return Fleet(model, layout, initialize(layout, model, seeds_K, CPU), update, seeds_K)


def trained(
    optimizer: str, update: str, runs: Sequence[Run], steps: int, model: ModelCard = MODEL, batch: int = BATCH
) -> Trained:
    """A fleet of these runs, trained with a cosine schedule."""
    seeds_K = [run.seed for run in runs]
    moved = fleet(seeds_K, update, model)
    rates = [run.lr for run in runs], [run.weight_decay for run in runs]
    curve_TK = train(
        FleetOptimizer(optimizer, moved), data(seeds_K, steps, batch), Schedule(steps, "cosine", 0.1), rates, (),
        lambda step: None,
    )  # fmt: skip
    return Trained(moved, curve_TK)
