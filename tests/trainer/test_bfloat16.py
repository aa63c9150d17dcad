"""The path with products in bfloat16: near float32's, each member as alone, recorded. Shapes: K runs, P floats in a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.trainer.fleet import Fleet
from synthbench.trainer.loop import train
from synthbench.trainer.native import path as paths
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.execution.test_native_path import OPTIONS, by_setting, exported
from tests.trainer import small

UNIT = 2.0**-8  # of bfloat16's rounding
RATE = 2e-3


def fleet(seeds_K: Sequence[int], update: str = "full", model: str = "small") -> Fleet:
    made = small.fleet(seeds_K, update, small.STYLES[model])
    made.in_bfloat16 = True
    return made


def curve(moved: Fleet, optimizer: str, rates_K: Sequence[float], steps: int = 20) -> NDArray[np.float32]:
    """Losses by step; run k has seed k."""
    schedule, shown = Schedule(steps, "cosine", 0.1), small.data(range(len(rates_K)), steps)
    return train(FleetOptimizer(optimizer, moved), shown, schedule, (rates_K, [0.1] * len(rates_K)))


def gradient(of: Fleet) -> Tensor:
    tokens_KBL = torch.from_numpy(small.data(range(len(of)), 1).tokens_KNL).long()[..., :-1]
    of.logits(tokens_KBL, first=3).square().sum().backward()
    return of.grad_KP


@each("model", ["small", "small-gpt2", "small-swiglu"])
@each("update", ["full", "full-hidden", "lora-4"])
def test_gradients_are_float32_s_within_rounding_and_differ_by_it(model: str, update: str) -> None:
    exact_KP = gradient(small.fleet([0, 1], update, small.STYLES[model]))
    rounded_KP = gradient(fleet([0, 1], update, model))
    assert rounded_KP.dtype == torch.float32
    error_K = (rounded_KP - exact_KP).norm(dim=1) / exact_KP.norm(dim=1)
    assert ((error_K > UNIT / 100) & (error_K < 4 * UNIT)).all()


@each("optimizer", ["adamw", "muon", "sgd"])
@each("update", ["full", "lora-4"])
def test_a_member_is_bitwise_as_alone_and_near_float32_s(optimizer: str, update: str) -> None:
    together, alone, exact = fleet([0, 1, 2], update), fleet([0], update), small.fleet([0, 1, 2], update)
    losses_TK = curve(together, optimizer, [RATE, 2 * RATE, float("inf")])
    np.testing.assert_array_equal(losses_TK[:, :1], curve(alone, optimizer, [RATE]))
    assert torch.equal(together.flat_KP[0], alone.flat_KP[0])
    assert together.flat_KP.dtype == torch.float32
    np.testing.assert_allclose(losses_TK[:, :2], curve(exact, optimizer, [RATE, 2 * RATE, RATE])[:, :2], rtol=0.02)


def test_runs_are_recorded_as_such_and_mix_with_no_others(call: Caller, tmp_path: Path) -> None:
    runs = {}
    for path in (paths.TORCH, paths.BFLOAT16):
        out = tmp_path / path
        code, text, err = call(f"run {tiny.write(tmp_path)} --path {path} {OPTIONS} --out {out}")
        assert code == 0, err
        assert ("The model's products are in bfloat16" in " ".join(text.split())) == (path == paths.BFLOAT16)
        runs[path] = by_setting(exported(call, out))
    torchs, others = runs.values()
    for setting, run in others.items():
        assert run["run"] != torchs[setting]["run"]
        assert run["device"] == f"{torchs[setting]['device']}, {paths.IN_BFLOAT16}"
        assert paths.of_device(run["device"]) == paths.BFLOAT16
        assert run["scores"]["validation_loss"] == pytest.approx(torchs[setting]["scores"]["validation_loss"], rel=0.1)
        assert run["scores"]["validation_loss"] != torchs[setting]["scores"]["validation_loss"]
