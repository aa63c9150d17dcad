"""Layout: which parameters a model has, and where each lies in a run's row of the flat buffer. Imports no torch.

    [hidden matrices: square, up, gate, down] [embedding, positions, head] [vectors]

Hidden matrices come first, so that those who take them alone (LoRA, full-hidden, Muon) take the beginning of a row.
"""

from __future__ import annotations

from math import prod
from typing import Literal, NamedTuple

from synthbench.cards import ModelCard

ALIGNMENT = 16  # floats: every parameter of every run starts on a 64-byte line, so that kernels treat all runs alike

Group = Literal["hidden", "embedding", "vector"]


class Parameter(NamedTuple):
    """name: as saved. shape: of one run; dimensions before the last two count matrices. offset: in floats."""

    name: str
    shape: tuple[int, ...]
    group: Group
    offset: int

    @property
    def size(self) -> int:
        return prod(self.shape)


class Layout(NamedTuple):
    """parameters: by name, in the buffer's order. row: floats in a run's row, padding included."""

    parameters: dict[str, Parameter]
    row: int

    @property
    def size(self) -> int:
        """Number of parameters, padding not counted."""
        return sum(parameter.size for parameter in self.parameters.values())

    @property
    def chunks(self) -> list[tuple[str | None, int]]:
        """The row as consecutive pieces: (name, floats), with None for padding."""
        pieces: list[tuple[str | None, int]] = []
        for name, parameter in self.parameters.items():
            pieces.append((name, parameter.size))
            if padding := -parameter.size % ALIGNMENT:
                pieces.append((None, padding))
        return pieces


def arrange(shapes: dict[str, tuple[Group, tuple[int, ...]]]) -> Layout:
    """A layout of these parameters in this order, each aligned."""
    parameters, offset = {}, 0
    for name, (group, shape) in shapes.items():
        parameters[name] = Parameter(name, shape, group, offset)
        offset += prod(shape) + -prod(shape) % ALIGNMENT
    return Layout(parameters, offset)


def hidden(layout: Layout) -> Layout:
    """The part of a layout that holds the hidden matrices: the beginning of every row."""
    return arrange({p.name: (p.group, p.shape) for p in layout.parameters.values() if p.group == "hidden"})


def transformer(model: ModelCard, vocabulary: int, length: int) -> Layout:
    """The parameters of a transformer that reads `length` tokens out of `vocabulary`.

    `qkv` stacks the query, key and value matrices, each (width, width).
    """
    width, inner, layers = model.width, model.width * model.expansion, range(model.layers)
    shapes: dict[str, tuple[Group, tuple[int, ...]]] = {}
    for i in layers:
        shapes[f"layers.{i}.qkv"] = "hidden", (3, width, width)
        shapes[f"layers.{i}.out"] = "hidden", (width, width)
    for name in ("up", "gate") if model.mlp == "swiglu" else ("up",):
        shapes |= {f"layers.{i}.{name}": ("hidden", (inner, width)) for i in layers}
    shapes |= {f"layers.{i}.down": ("hidden", (width, inner)) for i in layers}
    shapes["embedding"] = "embedding", (vocabulary, width)
    if model.positions == "learned":
        shapes["positions"] = "embedding", (length, width)
    if not model.tied:
        shapes["head"] = "embedding", (vocabulary, width)
    if model.norm == "layernorm":
        norms = [f"layers.{i}.norm_{part}" for i in layers for part in ("attention", "mlp")] + ["norm_head"]
        shapes |= {f"{norm}.{part}": ("vector", (width,)) for norm in norms for part in ("gain", "bias")}
    return arrange(shapes)
