"""Any torch.optim.Optimizer as a plug-in: equal to the built-in optimizer, and to itself in any fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbench import plugins
from synthbench.experiment.optimizers import source_hash
from synthbench.plugins import registry
from synthbench.trainer.fleet import Fleet
from synthbench.trainer.loop import train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.trainer.schedule import Schedule
from tests.each import each
from tests.trainer import small
from tests.trainer.small import Run

STEPS = 16


def curve(name: str, runs: list[Run], update: str = "full", steps: int = STEPS, **arguments: Any) -> Any:
    """The losses of a fleet, (T, K), and the fleet."""
    seeds_K = [run.seed for run in runs]
    fleet = small.fleet(seeds_K, update)
    optimizer = FleetOptimizer(name, fleet, arguments, plugins.routing_of(name, arguments))
    rates = [run.lr for run in runs], [run.weight_decay for run in runs]
    return train(
        optimizer, small.data(seeds_K, steps), Schedule(steps, "cosine", 0.1), rates, (), lambda step: None
    ), fleet


RUNS = [Run(1, 1e-3, 0.1), Run(2, 3e-3, 0.0), Run(3, 1e-2, 0.5)]


@pytest.mark.parametrize("update", ["full", "full-hidden", "lora-4"])
@each(
    ("theirs", "ours", "arguments"),
    [("AdamW", "adamw", {}), ("AdamW", "adamw", {"betas": [0.8, 0.9]}), ("SGD", "sgd", {"momentum": 0.9})],
)
def test_optimizers_of_torch_equal_the_built_in_ones(theirs: str, ours: str, arguments: Any, update: str) -> None:
    theirs_TK, _ = curve(plugins.take(f"torch.optim:{theirs}"), RUNS, update, **arguments)
    ours_TK, _ = curve(ours, RUNS, update, **arguments)
    np.testing.assert_allclose(theirs_TK, ours_TK, rtol=1e-5, atol=0)


def muons(**built_in: Any) -> tuple[Any, Any]:
    """The losses of torch.optim.Muon as a plug-in, and of the built-in Muon with these arguments: (T, K) each."""
    name = plugins.take("torch.optim:Muon")
    assert OPTIMIZERS[name].routing == registry.routed("hidden", name)
    assert OPTIMIZERS[name].grid == (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # around the constructor's rate
    return curve(name, RUNS, adjust_lr_fn="match_rms_adamw")[0], curve("muon", RUNS, **built_in)[0]


def test_muon_of_torch_equals_the_built_in_one_with_products_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch always casts to bfloat16; without that cast the two are equal."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    np.testing.assert_allclose(*muons(dtype="float32"), rtol=1e-5, atol=0)


def test_muon_of_torch_is_near_the_built_in_one_in_bfloat16() -> None:
    """Products are rounded to 8 bits in another order, which training amplifies; 2e-4 was measured."""
    theirs_TK, ours_TK = muons(dtype="bfloat16")
    np.testing.assert_allclose(theirs_TK, ours_TK, rtol=2e-3, atol=0)


class Clipped(torch.optim.SGD):
    """SGD that clips by the norm over all parameters of its instance."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 0.1)
        super().step()


class Noisy(torch.optim.SGD):
    """SGD that draws random numbers."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.add_(torch.randn_like(p.grad), alpha=0.01)
        super().step()


@each(("made_by", "update"), [(Clipped, "full"), (Noisy, "full"), (Clipped, "lora-4"), (Noisy, "lora-4")])
def test_a_class_with_a_global_norm_or_random_numbers_is_bitwise_independent_of_the_fleet(
    made_by: type, update: str
) -> None:
    name, before = plugins.take(made_by), torch.get_rng_state()
    together_TK, fleet = curve(name, RUNS, update, steps=10)
    for k, run in enumerate(RUNS):
        alone_TK, alone = curve(name, [run], update, steps=10)
        assert torch.equal(alone.flat_KP[0], fleet.flat_KP[k])
        assert np.array_equal(alone_TK[:, 0], together_TK[:, k])
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is unchanged


class Averaged(torch.optim.SGD):
    """Is evaluated at the mean of its first and its current weights."""

    def __init__(self, params: Any, lr: float = 1e-2) -> None:
        super().__init__(params, lr=lr)
        self.start = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        self.trained: list[Any] = []

    def _all(self) -> list[Any]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def eval(self) -> None:
        self.trained = [p.detach().clone() for p in self._all()]
        for p, start in zip(self._all(), self.start, strict=True):
            p.lerp_(start, 0.5)

    @torch.no_grad()
    def train(self) -> None:
        for p, saved in zip(self._all(), self.trained, strict=False):
            p.copy_(saved)


def evaluated_weights(name: str, fleet: Fleet, arguments: Any) -> list[torch.Tensor]:
    """The weights that are evaluated before, within and after four steps."""
    weights: list[torch.Tensor] = []
    optimizer = FleetOptimizer(name, fleet, arguments, plugins.routing_of(name, arguments))
    train(
        optimizer, small.data([1], 4), Schedule(4, "constant", 0.0), ([1e-1], [0.0]), (0, 2, 4),
        lambda step: weights.append(fleet.flat_KP.detach().clone()),
    )  # fmt: skip
    return weights


def test_train_and_eval_are_called_around_every_evaluation() -> None:
    name = plugins.take(Averaged)
    fleet = small.fleet([1])
    start = fleet.flat_KP.detach().clone()
    ours, plain = evaluated_weights(name, fleet, {}), evaluated_weights("sgd", small.fleet([1]), {"momentum": 0.0})
    assert torch.equal(ours[0], start)
    for averaged, trained in zip(ours[1:], plain[1:], strict=True):
        torch.testing.assert_close(averaged, (start + trained) / 2, rtol=1e-5, atol=1e-7)
    assert torch.equal(fleet.flat_KP.detach(), ours[-1])  # the saved weights are those evaluated last


def test_an_edit_of_the_file_or_of_its_neighbour_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("RATE = 1.0\n")
    text = (
        "import torch\nfrom neighbour import RATE\nimport neighbour\nclass Mine(torch.optim.SGD):\n    factor = RATE\n"
    )
    (tmp_path / "mine.py").write_text(text)
    first = source_hash(plugins.take(f"{tmp_path}/mine.py:Mine"))
    assert source_hash(plugins.take(f"{tmp_path}/mine.py:Mine")) == first
    (tmp_path / "neighbour.py").write_text("RATE = 2.0\n")
    second = source_hash(plugins.take(f"{tmp_path}/mine.py:Mine"))
    (tmp_path / "mine.py").write_text(text + "EDITED = True\n")
    assert len({first, second, source_hash(plugins.take(f"{tmp_path}/mine.py:Mine"))}) == 3
