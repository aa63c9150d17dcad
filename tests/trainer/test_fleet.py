"""Fleets: each row of a buffer is a model, independent of the other rows.

Shapes: K runs, P floats in a run's row.
"""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from synthbench.trainer.fleet import Fleet, initialize, pack, views
from tests.each import each
from tests.trainer import small
from tests.trainer.small import CPU, Run

RUNS = [Run(1, 1e-2, 0.1), Run(2, 2e-2, 0.0), Run(3, 4e-2, 0.3)]


@each("update", ["full", "full-hidden", "lora-4"])
def test_fresh_weights_depend_on_the_run_s_seed_only(update: str) -> None:
    together, alone = small.fleet([1, 2, 3], update), small.fleet([2], update)
    assert torch.equal(together.flat_KP[1], alone.flat_KP[0])
    assert torch.equal(together.base_KP[1], alone.base_KP[0])
    assert not torch.equal(together.flat_KP[0], together.flat_KP[1])


def test_fresh_weights_have_the_deviation_of_gpt2_scaled_to_the_width() -> None:
    fleet = small.fleet([1, 2, 3], model=small.GPT2)
    deviation = 0.02 * sqrt(768 / 32)
    for name, value in fleet.weights().items():
        if name.endswith((".out", ".down")):
            assert value.std().item() == pytest.approx(deviation / sqrt(2 * 2), rel=0.05), name
        elif name.endswith((".gain", ".bias")):
            assert (value == float(name.endswith(".gain"))).all(), name
        else:
            assert value.std().item() == pytest.approx(deviation, rel=0.05), name


@each("update", ["full", "full-hidden", "lora-4"])
def test_packed_members_are_the_same_models(update: str) -> None:
    fleet = small.trained("adamw", update, RUNS, 3).fleet
    members = [fleet.member(k) for k in (2, 0)]
    packed = Fleet(fleet.model, fleet.layout, pack(fleet.layout, members, CPU))
    for index, member in enumerate(members):
        assert all(torch.equal(value, member[name]) for name, value in packed.member(index).items())


def test_a_member_is_a_copy() -> None:
    fleet = small.fleet([1, 2, 3])
    before = fleet.flat_KP.detach().clone()
    for value in fleet.member(1).values():
        value.fill_(7)
    assert torch.equal(fleet.flat_KP, before)


def test_a_fleet_does_not_change_the_weights_it_starts_from() -> None:
    """Two stages may start from one buffer."""
    layout = small.fleet([1]).layout
    base_KP = initialize(layout, small.MODEL, [1, 2], CPU)
    before, fleet = base_KP.clone(), Fleet(small.MODEL, layout, base_KP)
    with torch.no_grad():
        fleet.flat_KP.add_(1)
    assert torch.equal(base_KP, before)


@each("update", ["full", "full-hidden", "lora-4"])
def test_all_weights_or_the_adapters_of_a_run_are_saved(update: str) -> None:
    fleet = small.trained("adamw", update, RUNS, 3).fleet
    adapters = {name: value[1] for name, value in views(fleet.trainable, fleet.flat_KP).items()}
    saved, expected = fleet.saved(1), adapters if update == "lora-4" else fleet.member(1)
    assert set(saved) == set(fleet.trainable.parameters if update == "lora-4" else fleet.layout.parameters)
    assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_gradients_of_a_sum_of_losses_are_separate_by_run() -> None:
    fleet = small.fleet([1, 2, 3])
    fleet.logits(torch.zeros(3, 2, 4, dtype=torch.long))[1].square().sum().backward()
    assert not fleet.grad_KP[[0, 2]].any()
    assert all(value[1].any() for value in views(fleet.layout, fleet.grad_KP).values())
