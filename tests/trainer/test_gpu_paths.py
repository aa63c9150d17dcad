"""What a GPU takes in place of the CPU's path, on the CPU; `python -m tests.gpu` tests the rest where there is a GPU.

Shapes as in `trainer/transformer.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbench.trainer import functions, transformer
from synthbench.trainer.loop import Steps
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import IMPLEMENTATIONS, adamw
from synthbench.trainer.optimizers.registry import Block, Hyper
from synthbench.trainer.schedule import Schedule
from tests.each import each
from tests.trainer import small


@each("optimizer", ["adamw", "muon", "sgd"])
def test_a_step_whose_number_is_a_tensor_is_the_same(optimizer: str) -> None:
    """A CUDA graph reads the number of its step from the device."""
    ends = []
    for number in (int, lambda step: torch.tensor([step])):
        moved = FleetOptimizer(optimizer, small.fleet([1, 2]))
        steps = Steps(moved, small.data([1, 2], 6), Schedule(6, "cosine", 0.1), ([1e-2, 2e-2], [0.1, 0.0]))
        for step in range(6):
            steps.take(number(step))
        ends.append((steps.curve_TK.numpy(), moved.fleet.flat_KP.detach().numpy()))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_adamw_of_all_runs_at_once_is_adamw_run_by_run() -> None:
    ends = []
    for move, number in ((adamw.batched, lambda step: torch.tensor(step, dtype=torch.float64)), (adamw.by_row, int)):
        generator = torch.Generator().manual_seed(0)
        value, first, second = torch.ones(2, 50), torch.zeros(2, 50), torch.zeros(2, 50)
        for step in range(1, 9):
            block = Block(value, torch.randn(2, 50, generator=generator), ())
            rates = torch.tensor([1e-2, 1e-3]), torch.tensor([0.1, 0.0])
            move(block, first, second, Hyper(number(step), *rates), adamw.AdamW())
        ends.append(value)
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)


@each("model", ["small", "small-gpt2", "small-swiglu"])
def test_tiles_tables_embedding_as_a_product_and_fused_sums_give_the_same_logits_and_gradients(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for tile, vocabulary, fused, table in (
        (1, 0, False, 0.0),
        (64, 256, True, 0.0),
        (32, 0, False, 4.0),
        (1, 256, False, 4.0),
    ):
        monkeypatch.setitem(functions.FUSED, "cpu", fused)
        monkeypatch.setitem(transformer.TILE, "cpu", tile)
        monkeypatch.setitem(transformer.ONE_HOT, "cpu", vocabulary)
        monkeypatch.setitem(transformer.TABLE, "cpu", table)
        fleet = small.fleet([1, 2, 3], model=small.STYLES[model])
        tokens_KBL = torch.from_numpy(small.data([1, 2, 3], 1).tokens_KNL).long()[..., :-1]
        logits = fleet.logits(tokens_KBL, first=3)
        logits.square().sum().backward()
        outcomes.append((logits.detach(), fleet.grad_KP))
    for others in outcomes[1:]:
        for one, other in zip(outcomes[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_no_tile_holds_examples_of_two_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of NaN would reach the other through the masked half of the tile."""
    monkeypatch.setitem(transformer.TILE, "cpu", 64)
    fleet = small.fleet([1, 2])
    with torch.no_grad():
        fleet.flat_KP[0] = float("nan")
        tokens_KBL = torch.from_numpy(small.data([1, 2], 1).tokens_KNL).long()[..., :-1]
        logits = fleet.logits(tokens_KBL)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()
    assert transformer.examples_together(64, 8, 64) == 8
    assert transformer.examples_together(6, 9, 64) == 6
    assert transformer.examples_together(17, 8, 64) == 1
    assert transformer.examples_together(64, 100, 64) == 1


def test_built_in_optimizers_alone_are_captured() -> None:
    assert {name for name, one in IMPLEMENTATIONS.items() if one.is_capturable} == {
        "adamw",
        "adamw-split",
        "muon",
        "sgd",
    }
    assert not FleetOptimizer("adamw", small.fleet([1])).is_capturable  # a CPU has no graphs


@pytest.mark.slow
def test_the_gpu_command_measures_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu", str(tmp_path), "--tiny"]
    subprocess.run(command, check=True, timeout=3600, capture_output=True)
    found = json.loads((tmp_path / "gpu.json").read_text())
    missing = {name: one for name, one in found.items() if isinstance(one, str)}
    assert not missing
    assert len(found) == 1 + 1 + 1 + 1 + 1 + 2 * (4 + 4 * 2)
    for one in found["equality"].values():
        assert one["bitwise the same without a graph"]
        assert one["bitwise the same beside a run at an infinite rate"]
        assert all(one["bitwise the same in fleets of"].values())
    assert found["quick, adamw, 2 seeds"]["scores"]
    assert found["leaderboard, one seed"]["exit"] == 0
