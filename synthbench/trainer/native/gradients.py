"""Losses and gradients of a fleet in C++, one member at a time, so that its weights and activations stay in the cache.

The mathematics is that of `trainer/step.py`; the rounding is not.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer import transformer
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.layout import Layout

MLP = ("relu2", "gelu", "swiglu")  # by their numbers in layers.h
CPU = torch.device("cpu")


@cache
def load(library: Path) -> None:
    """Makes the operators known to torch; raises OSError where the built library cannot be loaded."""
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]


def described(model: ModelCard, layout: Layout, length: int) -> list[int]:
    """A model and where its parameters lie, as the operators read them. length: of its inputs."""

    def places(*names: str) -> list[int]:
        return [layout.parameters[name].offset if name in layout.parameters else -1 for name in names]

    vocabulary = layout.parameters["embedding"].shape[0]
    numbers = [model.layers, model.width, model.head_width, model.width * model.expansion, vocabulary]
    numbers += [length, MLP.index(model.mlp)]
    for i in range(model.layers):
        numbers += places(*(f"layers.{i}.{name}" for name in ("qkv", "out", "up", "gate", "down")))
        numbers += places(*(f"layers.{i}.norm_{of}.{part}" for of in ("attention", "mlp") for part in ("gain", "bias")))
    numbers += places("embedding", "positions", "embedding" if model.tied else "head")
    return numbers + places("norm_head.gain", "norm_head.bias")


def turn(model: ModelCard, length: int) -> Tensor | None:
    """RoPE's rotations as pairs of cosine and sine."""
    if model.positions != "rope":
        return None
    return torch.view_as_real(transformer.rotation(length, model.head_width, CPU)).contiguous()


def adapted(base: Layout, adapters: Layout) -> list[int]:
    """Of every matrix that has an adapter: offsets of it, A and B, its rows and columns."""
    numbers = []
    for name, parameter in layouts.hidden(base).parameters.items():
        a, b = adapters.parameters[f"{name}.A"], adapters.parameters[f"{name}.B"]
        rows, columns = parameter.shape[-2:]
        rank = a.shape[-2]
        for i in range(parameter.size // (rows * columns)):
            offsets = parameter.offset + i * rows * columns, a.offset + i * rank * columns, b.offset + i * rows * rank
            numbers += [*offsets, rows, columns]
    return numbers


class Gradients:
    """Those of one fleet. Inputs are of one length."""

    def __init__(self, fleet: Fleet, length: int) -> None:
        self._model, self._turn = described(fleet.model, fleet.layout, length), turn(fleet.model, length)
        self._rows = list(fleet.flat_KP.detach())
        self._bases = list(fleet.base_KP)
        self._is_full, self._rank = fleet.update == "full", 0
        if fleet.update.startswith("lora-"):
            self._rank = int(fleet.update.removeprefix("lora-"))
            self._adapted = adapted(fleet.layout, fleet.trainable)
            self._hidden = layouts.hidden(fleet.layout).row
            self._merged, self._of_merged = torch.empty(self._hidden), torch.zeros(self._hidden)

    def of(self, k: int, tokens_BL: Tensor, answer_BL: Tensor, first: int, grad_P: Tensor) -> float:
        """The loss of member k. Its gradient goes to a row whose padding is zero. tokens_BL: inputs and the token after
        them."""
        call, row, base = torch.ops.synthbench.gradient, self._rows[k], self._bases[k]
        inputs = self._turn, tokens_BL, answer_BL, first
        if self._is_full:
            return float(call(self._model, row, row, *inputs, grad_P, grad_P))
        if not self._rank:
            return float(call(self._model, row, base, *inputs, grad_P, None))
        self._merged.copy_(base[: self._hidden])
        torch.ops.synthbench.merge(self._merged, row, self._adapted, self._rank)
        loss = float(call(self._model, self._merged, base, *inputs, self._of_merged, None))
        torch.ops.synthbench.merge_backward(grad_P, self._of_merged, row, self._adapted, self._rank)
        return loss
