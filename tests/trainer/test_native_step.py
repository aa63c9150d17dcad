"""The native step trains as torch's does, and a member is bitwise the same in any fleet.

Shapes: K runs, T steps.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthbench.cards import MODELS, ModelCard
from synthbench.trainer import loop
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.native import path as paths
from synthbench.trainer.native import step as native_step
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS
from synthbench.trainer.schedule import Schedule
from tests.each import each
from tests.trainer import native, small
from tests.trainer.small import Run, Trained
from tests.trainer.test_equality import OPTIMIZERS as NAMES
from tests.trainer.test_equality import STEPS, TOLERANCE, runs_of

UPDATES = ("full", "full-hidden", "lora-4")
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "adamw": [{}, {"betas": (0.8, 0.9), "eps": 1e-6}],
    "adamw-split": [{"aux_lr_ratio": 0.5}],
    "sgd": [{}, {"nesterov": True}, {"momentum": 0.0}],
    "muon": [{}, {"nesterov": False, "scale": "original", "aux_lr_ratio": 2.0}, {"steps": 3, "momentum": 0.8}],
}


@pytest.fixture(autouse=True)
def _loaded() -> None:
    native.load()


def trained(
    optimizer: str,
    update: str,
    runs: Sequence[Run],
    steps: int,
    model: ModelCard = small.MODEL,
    arguments: dict[str, Any] | None = None,
    *,
    is_native: bool = True,
    batch: int = small.BATCH,
) -> Trained:
    """A fleet of these runs, trained on one of the paths."""
    fleet = small.fleet([run.seed for run in runs], update, model)
    fleet.native = paths.of(paths.NATIVE) if is_native else None
    return Trained(fleet, train(FleetOptimizer(optimizer, fleet, arguments), runs, steps, batch))


def train(optimizer: FleetOptimizer, runs: Sequence[Run], steps: int, batch: int) -> NDArray[np.float32]:
    rates = [run.lr for run in runs], [run.weight_decay for run in runs]
    return loop.train(
        optimizer, small.data([run.seed for run in runs], steps, batch), Schedule(steps, "cosine", 0.1), rates
    )


def rate_of(optimizer: str, update: str, count: int) -> list[Run]:
    return runs_of(optimizer.partition("-")[0], "full" if update != "lora-4" else update, count)


CASES = [
    (name, arguments, update) for name, each_of in ARGUMENTS.items() for arguments in each_of for update in UPDATES
]


@pytest.mark.parametrize(("optimizer", "arguments", "update"), CASES)
def test_losses_are_those_of_torch_at_every_step(optimizer: str, arguments: dict[str, Any], update: str) -> None:
    runs = rate_of(optimizer, update, 3)
    expected = trained(optimizer, update, runs, STEPS, arguments=arguments, is_native=False)
    found = trained(optimizer, update, runs, STEPS, arguments=arguments)
    np.testing.assert_allclose(found.curve_TK, expected.curve_TK, rtol=TOLERANCE, atol=0)
    assert (found.curve_TK[-1] < 0.95 * found.curve_TK[0]).all()


@each("model", [small.GPT2, small.SWIGLU, MODELS["tiny"]])
@each("optimizer", NAMES)
def test_every_style_of_model_trains_as_in_torch(model: ModelCard, optimizer: str) -> None:
    runs = runs_of(optimizer, "full", 2)
    expected = trained(optimizer, "full", runs, 10, model, is_native=False)
    found = trained(optimizer, "full", runs, 10, model)
    np.testing.assert_allclose(found.curve_TK, expected.curve_TK, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", NAMES)
def test_a_member_is_bitwise_the_same_in_fleets_of_1_3_and_16_at_any_index(optimizer: str, update: str) -> None:
    member, *others = rate_of(optimizer, update, 16)
    alone = trained(optimizer, update, [member], 10)
    for size in (3, 16):
        for index in (0, size // 2, size - 1):
            together = trained(optimizer, update, [*others[:index], member, *others[index : size - 1]], 10)
            assert torch.equal(together.fleet.flat_KP[index], alone.fleet.flat_KP[0])
            assert np.array_equal(together.curve_TK[:, index], alone.curve_TK[:, 0])


@each("update", UPDATES)
@each("optimizer", NAMES)
def test_a_member_of_a_runner_s_size_is_bitwise_the_same_in_any_fleet(optimizer: str, update: str) -> None:
    runs, model = rate_of(optimizer, update, 3), MODELS["tiny"]
    together = trained(optimizer, update, runs, 2, model, batch=64)
    for k, run in enumerate(runs):
        alone = trained(optimizer, update, [run], 2, model, batch=64)
        assert torch.equal(together.fleet.flat_KP[k], alone.fleet.flat_KP[0])


@each("update", UPDATES)
@each("optimizer", NAMES)
def test_a_diverged_member_does_not_change_the_others(optimizer: str, update: str) -> None:
    runs = rate_of(optimizer, update, 3)
    finite = trained(optimizer, update, runs, 5)
    with_diverged = trained(optimizer, update, [runs[0], runs[1]._replace(lr=float("inf")), runs[2]], 5)
    assert not with_diverged.fleet.flat_KP[1].isfinite().all()
    assert not np.isfinite(with_diverged.curve_TK[-1, 1])
    for k in (0, 2):
        assert torch.equal(with_diverged.fleet.flat_KP[k], finite.fleet.flat_KP[k])
        assert np.array_equal(with_diverged.curve_TK[:, k], finite.curve_TK[:, k])


@each("update", UPDATES)
def test_an_optimizer_without_a_native_move_makes_its_own(update: str) -> None:
    """Such is a plug-in, and Muon with products in bfloat16."""
    spec, implementation = OPTIMIZERS["sgd"], IMPLEMENTATIONS["sgd"]
    OPTIMIZERS["other"] = spec._replace(name="other", routing=(("*", "other"),))
    IMPLEMENTATIONS["other"] = implementation
    runs = rate_of("sgd", update, 3)
    other, expected = trained("other", update, runs, 20), trained("sgd", update, runs, 20, is_native=False)
    np.testing.assert_allclose(other.curve_TK, expected.curve_TK, rtol=TOLERANCE, atol=0)
    assert torch.equal(trained("other", update, runs[1:2], 20).fleet.flat_KP[0], other.fleet.flat_KP[1])


def test_muon_with_products_in_bfloat16_makes_its_own_move() -> None:
    fleet = small.fleet([1])
    assert not native_step.NativeStep(FleetOptimizer("muon", fleet, {"dtype": "bfloat16"}), 8).is_native
    assert native_step.NativeStep(FleetOptimizer("muon", fleet), 8).is_native


def test_two_trainings_of_one_fleet_have_moments_of_their_own() -> None:
    runs = runs_of("adamw", "full", 2)
    fleet: Fleet = small.fleet([run.seed for run in runs])
    start = fleet.flat_KP.detach().clone()
    fleet.native, curves = paths.of(paths.NATIVE), []
    for _ in range(2):
        with torch.no_grad():
            fleet.flat_KP.copy_(start)
        curves.append(train(FleetOptimizer("adamw", fleet), runs, 3, small.BATCH))
    assert np.array_equal(*curves)


def test_no_fleet_outlives_its_job() -> None:
    fleet = small.fleet([0, 1], "full")
    fleet.native, kept = paths.of(paths.NATIVE), weakref.ref(fleet)
    train(FleetOptimizer("adamw", fleet), runs_of("adamw", "full", 2), 2, small.BATCH)
    del fleet
    gc.collect()
    assert kept() is None
