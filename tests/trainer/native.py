"""What tests of the native path need: the built library, loaded."""

from __future__ import annotations

import pytest
import torch

from synthbench.cards import ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from synthbench.trainer.native import build, gradients

CPU = torch.device("cpu")


def load() -> None:
    """Builds and loads the operators; skips a test where there is no compiler."""
    try:
        build.compiler()
    except build.NotBuilt as error:
        pytest.skip(str(error))
    gradients.load(build.library())


def fleet(model: ModelCard, vocabulary: int, length: int, update: str, runs: int = 2) -> Fleet:
    """A fleet whose weights, norms and adapters are all far from zero."""
    layout, generator = layouts.transformer(model, vocabulary, length), torch.Generator().manual_seed(0)
    base_KP = initialize(layout, model, range(runs), CPU)
    base_KP += 0.1 * torch.randn(base_KP.shape, generator=generator)
    made = Fleet(model, layout, base_KP, update, range(runs))
    with torch.no_grad():
        made.flat_KP += 0.1 * torch.randn(made.flat_KP.shape, generator=generator)
    return made


def in_double(fleet: Fleet) -> Fleet:
    """The same in float64: what rounding is measured against."""
    exact = Fleet(fleet.model, fleet.layout, fleet.base_KP.double(), fleet.update, range(len(fleet)))
    exact.flat_KP = fleet.flat_KP.detach().double().requires_grad_()
    return exact
