"""Matrix optimizers, batched by vmap, equal a loop over matrices; fleet optimizers; the examples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import synthbench
from synthbench import plugins
from synthbench.plugins import code_hash
from synthbench.plugins.decorators import batched
from synthbench.trainer.loop import train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import OPTIMIZERS, Hyper
from synthbench.trainer.schedule import Schedule
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.trainer import small

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["signum.py:Signum", "lion.py:lion", "orthogonal.py:orthogonal"]


def update(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    """An update with a matrix product, two states, both rates, the step and an argument."""
    first = hyper.beta * state["first"] + grad
    second = state["second"] + (grad @ grad.mT) @ grad
    moved = param * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * (first + second / hyper.step)
    return moved, {"first": first, "second": second}


def test_a_batched_update_equals_the_loop_over_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    value, grad, first, second = torch.randn(4, 3, 2, 5, 6, generator=generator)
    hyper = Hyper(7, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.0, 0.5, 1.0]))
    new, state = batched(update, grad, {"first": first, "second": second}, value, hyper, {"beta": 0.9})
    for k in range(3):
        for m in range(2):
            scalars = SimpleNamespace(lr=hyper.lr_K[k], weight_decay=hyper.weight_decay_K[k], step=7, beta=0.9)
            member_state = {"first": first[k, m], "second": second[k, m]}
            alone, after = update(grad[k, m], member_state, value[k, m], scalars)
            torch.testing.assert_close(new[k, m], alone, rtol=1e-5, atol=1e-6)
            for name in member_state:
                torch.testing.assert_close(state[name][k, m], after[name], rtol=1e-5, atol=1e-6)


def trained(name: str, seeds: list[int], steps: int = 10) -> Any:
    fleet = small.fleet(seeds)
    optimizer = FleetOptimizer(name, fleet, {}, OPTIMIZERS[name].routing)
    rates = [OPTIMIZERS[name].grid[2]] * len(seeds), [0.1] * len(seeds)
    curve = train(optimizer, small.data(seeds, steps), Schedule(steps, "constant", 0.0), rates, (), lambda step: None)
    return fleet, curve


@pytest.mark.parametrize("name", NAMES)
def test_an_example_learns_and_is_bitwise_independent_of_the_fleet(name: str) -> None:
    label = plugins.take(f"{EXAMPLES}/{name}")
    fleet, curve = trained(label, [1, 2, 3], 16)
    assert (curve[-1] < curve[0]).all()
    for k, seed in enumerate((1, 2, 3)):
        assert torch.equal(trained(label, [seed], 16)[0].flat_KP[0], fleet.flat_KP[k])


@each("name", NAMES)
def test_an_example_is_short_and_its_command_runs(name: str, call: Caller, tmp_path: Path) -> None:
    file, _, attribute = name.partition(":")
    lines = (EXAMPLES / file).read_text().splitlines()
    assert len(lines) < 40
    assert f"synthbench run --optimizer examples/{file}:{attribute}" in lines
    command = f"run {tiny.write(tmp_path)} --optimizer {EXAMPLES}/{name} --set seeds=1 --jobs 1 --quiet"
    code, out, err = call(f"{command} --out {tmp_path}/{attribute}")
    assert code == 0, err
    assert attribute in out.replace("\n", "")


def test_a_fleet_optimizer_equals_the_same_class(tmp_path: Path) -> None:
    flat = plugins.take(f"{EXAMPLES}/lion.py:lion")

    class Lion(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 1e-4, weight_decay: float = 0.0) -> None:
            super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for p in group["params"]:
                    momentum = self.state[p].setdefault("m", torch.zeros_like(p))
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * (0.9 * momentum + (1 - 0.9) * p.grad).sign())
                    momentum.lerp_(p.grad, 1 - 0.99)

    Lion.__qualname__ = "Lion"
    ours, theirs = trained(flat, [1, 2], 5)[1], trained(plugins.take(Lion), [1, 2], 5)[1]
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-5, atol=0)


def test_the_hash_of_an_optimizer_without_a_file_depends_on_each_of_its_parts() -> None:
    def step(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
        blocks[0].value_Kn.sub_(hyper.lr_K[:, None])

    def zeros(blocks: Any, arguments: Any) -> Any:
        return {"kept": [torch.zeros_like(block.value_Kn) for block in blocks]}

    def ones(blocks: Any, arguments: Any) -> Any:
        return {"kept": [torch.ones_like(block.value_Kn) for block in blocks]}

    optimizers = [
        synthbench.fleet_optimizer(step, start=zeros), synthbench.fleet_optimizer(step, start=ones),
        synthbench.fleet_optimizer(step, start=zeros, lr=2e-3), synthbench.fleet_optimizer(step, start=zeros, beta=0.5),
        synthbench.matrix_optimizer(state=("first", "second"))(update),
        synthbench.matrix_optimizer(state=("first", "second", "third"))(update),
    ]  # fmt: skip
    assert len({code_hash.digest(optimizer) for optimizer in optimizers}) == len(optimizers)
    assert code_hash.digest(optimizers[0]) == code_hash.digest(synthbench.fleet_optimizer(step, start=zeros))
