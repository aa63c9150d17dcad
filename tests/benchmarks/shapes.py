"""What is trained in a comparison: the size of a step, weights and data, the same for every way to train.

Shapes: K runs, N items, B examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from synthbench.cards import MODELS, ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from synthbench.trainer.loop import Data

STEPS = 32  # batches that are drawn, then shown again
RATES = {"adamw": 1e-3, "muon": 2e-3, "sgd": 3e-2}
DECAY = 0.1


class Shape(NamedTuple):
    """B examples of L tokens a step, of which those that follow position `first` and later ones are learned."""

    model: ModelCard
    batch: int = 64
    length: int = 8
    vocabulary: int = 37
    first: int = 4

    def of(self, **changes: int | str | bool) -> Shape:
        """The same with another batch or length, or another model of these keys."""
        own = {name: value for name, value in changes.items() if name in self._fields}
        model = self.model.model_copy(update={name: value for name, value in changes.items() if name not in own})
        return self._replace(model=model, **own)


GPT2 = {"norm": "layernorm", "positions": "learned", "mlp": "gelu", "tied": True}
SHAPES = {
    "quick": Shape(MODELS["tiny"]),
    "quick, GPT-2 style": Shape(MODELS["tiny"]).of(**GPT2),
    "compact": Shape(MODELS["compact"]),
    **{  # as many tokens a step
        f"compact, {length} tokens": Shape(MODELS["compact"]).of(length=length, batch=512 // length, first=length // 2)
        for length in (16, 32, 64)
    },
}


def fleet(shape: Shape, seeds_K: Sequence[int], update: str, device: str = "cpu") -> Fleet:
    import torch

    layout = layouts.transformer(shape.model, shape.vocabulary, shape.length)
    weights_KP = initialize(layout, shape.model, seeds_K, torch.device(device))
    return Fleet(shape.model, layout, weights_KP, update, seeds_K)


def data(shape: Shape, seeds_K: Sequence[int], steps: int = STEPS) -> Data:
    """Random items and orders, those of a run by its seed alone."""
    items = 4 * shape.batch
    tokens, orders = [], []
    for seed in seeds_K:
        generator = np.random.default_rng(seed)
        tokens.append(generator.integers(shape.vocabulary, size=(items, shape.length + 1), dtype=np.int32))
        orders.append(generator.integers(items, size=(steps, shape.batch), dtype=np.int32))
    answers = np.broadcast_to(np.arange(shape.length + 1) > shape.first, (len(seeds_K), items, shape.length + 1))
    return Data(np.stack(tokens), answers.copy(), np.stack(orders))
