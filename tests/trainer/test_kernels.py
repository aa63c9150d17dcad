"""How many kernels a step launches on a GPU, counted on the CPU: torch's operations that are no view of a tensor.

The launches of a small fleet's step take longer than its kernels, so their number, which does not depend on K, is its
speed outside a CUDA graph and the length of one inside. Nothing of a step may wait for a value, or no graph could hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from synthbench.trainer import functions, transformer
from synthbench.trainer.loop import Steps
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import adamw
from synthbench.trainer.schedule import Schedule
from tests.benchmarks.shapes import SHAPES, data, fleet

# At `quick`'s shape, where 119, 142, 177, 194, 110 and 133 are launched; versions of torch differ by a few. Lower them
# with a step that takes fewer: torch has RMSNorm as one kernel and its gradient as another, but on a GPU alone.
MOST = {
    ("adamw", "full"): 120, ("adamw", "lora-16"): 145, ("muon", "full"): 180, ("muon", "lora-16"): 197,
    ("sgd", "full"): 112, ("sgd", "lora-16"): 136,
}  # fmt: skip
WAITS = {"_local_scalar_dense", "nonzero", "item", "equal"}  # operations that ask the device for a value
NO_KERNEL = {"_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty"}


class Kernels(TorchDispatchMode):
    """Counts operations by name, those without a kernel of their own left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        if not func.is_view and name not in NO_KERNEL:
            self.counted[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes what a GPU takes in place of the CPU's path (`test_gpu_paths.py` shows that both are the same)."""
    monkeypatch.setattr(adamw, "by_row", adamw.batched)
    monkeypatch.setitem(functions.FUSED, "cpu", functions.FUSED["cuda"])
    monkeypatch.setitem(transformer.TILE, "cpu", transformer.TILE["cuda"])
    monkeypatch.setitem(transformer.ONE_HOT, "cpu", transformer.ONE_HOT["cuda"])
    monkeypatch.setitem(transformer.TABLE, "cpu", transformer.TABLE["cuda"])


def kernels(optimizer: str, update: str, runs: int) -> Counter[str]:
    """Of the third step, by the name of the operation."""
    shape, seeds_K = SHAPES["quick"], range(runs)
    moved = FleetOptimizer(optimizer, fleet(shape, seeds_K, update))
    rates = [1e-3] * runs, [0.1] * runs
    steps = Steps(moved, data(shape, seeds_K, 3), Schedule(3, "cosine", 0.1), rates)
    for step in (0, 1):
        steps.take(torch.tensor([step]))
    third = torch.tensor([2])
    with Kernels() as mode:
        steps.take(third)
    return mode.counted


@pytest.mark.usefixtures("_as_on_a_gpu")
@pytest.mark.parametrize(("optimizer", "update"), MOST)
def test_a_step_launches_few_kernels_whatever_the_runs_and_waits_for_none(optimizer: str, update: str) -> None:
    counted = kernels(optimizer, update, 1)
    assert counted == kernels(optimizer, update, 5)
    assert not WAITS & counted.keys()
    assert counted.total() <= MOST[optimizer, update], counted.most_common()
