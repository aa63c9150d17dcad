"""A fleet: K runs as one batched model over flat buffers, each run equal to training it alone.

Shapes: K runs, P floats in a run's row, B examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank, transformer
from synthbench.trainer.layout import Layout

Views = dict[str, Tensor]


class Native(NamedTuple):
    """Faster ways to what `step.training_step`, and without a gradient `transformer.logits`, compute: the same but for
    rounding (`trainer/native`)."""

    training_step: Callable[..., Tensor]
    logits: Callable[..., Tensor]


def views(layout: Layout, flat_KP: Tensor) -> Views:
    """Every parameter as a view (K, *shape) of the flat buffer; gradients flow back into the buffer."""
    pieces = torch.split(flat_KP, [size for _, size in layout.chunks], dim=1)
    named = {name: piece for (name, _), piece in zip(layout.chunks, pieces, strict=True) if name}
    return {name: piece.view(len(flat_KP), *layout.parameters[name].shape) for name, piece in named.items()}


def initialize(layout: Layout, model: ModelCard, seeds_K: Sequence[int], device: torch.device) -> Tensor:
    """Fresh weights, one seed a run: normal with deviation 0.02 sqrt(768 / width) (GPT-2's at its width), matrices that
    write to the residual stream divided by sqrt(2 layers); gains 1, biases 0. Shape (K, P)."""
    flat_KP = torch.zeros(len(seeds_K), layout.row)
    deviation = 0.02 * sqrt(768 / model.width)
    for row, seed in zip(flat_KP, seeds_K, strict=True):
        generator = torch.Generator().manual_seed(seed)
        for parameter in layout.parameters.values():
            value = row[parameter.offset : parameter.offset + parameter.size]
            if parameter.group == "vector":
                value.fill_(float(parameter.name.endswith("gain")))
            else:
                scale = 1 / sqrt(2 * model.layers) if parameter.name.endswith((".out", ".down")) else 1.0
                value.normal_(0, deviation * scale, generator=generator)
    return flat_KP.to(device)


def initialize_adapters(layout: Layout, seeds_K: Sequence[int], device: torch.device) -> Tensor:
    """Fresh adapters: A uniform within +-1/sqrt(columns), B zero, as in the LoRA paper's code. Shape (K, P)."""
    flat_KP = torch.zeros(len(seeds_K), layout.row)
    for row, seed in zip(flat_KP, seeds_K, strict=True):
        generator = torch.Generator().manual_seed(seed)
        for parameter in layout.parameters.values():
            if parameter.name.endswith(".A"):
                bound = 1 / sqrt(parameter.shape[-1])
                row[parameter.offset : parameter.offset + parameter.size].uniform_(-bound, bound, generator=generator)
    return flat_KP.to(device)


class Fleet:
    """K models of one shape under one kind of update.

    flat_KP: what is trained, laid out as `trainable` says; `grad_KP` is its gradient after `backward`. base_KP: all
    weights at the start, laid out as `layout` says; those that are not trained are read from here.
    """

    def __init__(
        self,
        model: ModelCard,
        layout: Layout,
        base_KP: Tensor,
        update: str = "full",
        seeds_K: Sequence[int] = (),
        native: Native | None = None,
    ) -> None:
        """base_KP: the weights to start from. update: `full`, `full-hidden` or `lora-R`. seeds_K: for the adapters. native:
        in place of torch's path."""
        self.model, self.layout, self.update, self.native = model, layout, update, native
        self.base_KP = base_KP
        self.in_bfloat16 = False  # whether the model's products are
        if update == "full":
            self.trainable, start_KP = layout, base_KP
        elif update == "full-hidden":
            self.trainable = layouts.hidden(layout)
            start_KP = base_KP[:, : self.trainable.row]
        else:
            self.trainable = low_rank.adapters(layout, int(update.removeprefix("lora-")))
            start_KP = initialize_adapters(self.trainable, seeds_K, base_KP.device)
        self.flat_KP = start_KP.clone().requires_grad_()

    def __len__(self) -> int:
        return len(self.flat_KP)

    @property
    def grad_KP(self) -> Tensor:
        """The gradient of the last backward pass, shape (K, P)."""
        assert self.flat_KP.grad is not None, "backward has not been called"
        return self.flat_KP.grad

    def weights(self, flat_KP: Tensor | None = None) -> Views:
        """All weights as the model uses them now (adapters merged), each (K, *shape). flat_KP: an earlier copy of the
        buffer, for the weights of then."""
        trained = views(self.trainable, self.flat_KP if flat_KP is None else flat_KP)
        if self.update == "full":
            return trained
        base = views(self.layout, self.base_KP)
        return base | trained if self.update == "full-hidden" else low_rank.merged(base, trained)

    def logits(self, tokens_KBL: Tensor, first: int = 0, weights: Views | None = None) -> Tensor:
        """Logits of what follows positions first, first + 1, ...: shape (K, B, L - first, V). weights: in place of those of
        now."""
        weights = self.weights() if weights is None else weights
        if self.in_bfloat16:
            weights = {name: value.bfloat16() for name, value in weights.items()}
        of = transformer.logits if self.native is None or torch.is_grad_enabled() else self.native.logits
        return of(self.model, weights, tokens_KBL, first)

    def member(self, k: int) -> Views:
        """The weights of one run, adapters merged, as plain tensors of the reference module's shapes."""
        with torch.no_grad():
            return {name: value[k].clone() for name, value in self.weights().items()}

    def saved(self, k: int) -> Views:
        """What is kept of one run: all weights, or its adapters alone."""
        with torch.no_grad():
            trained = self.weights() if self.update == "full-hidden" else views(self.trainable, self.flat_KP)
            return {name: value[k].clone() for name, value in trained.items()}


def pack(layout: Layout, members: Sequence[Views], device: torch.device) -> Tensor:
    """Flat rows from weights by name, one dictionary a run. Shape (K, P)."""
    flat_KP = torch.zeros(len(members), layout.row)
    for row, member in zip(flat_KP, members, strict=True):
        for name, parameter in layout.parameters.items():
            row[parameter.offset : parameter.offset + parameter.size] = member[name].reshape(-1)
    return flat_KP.to(device)
