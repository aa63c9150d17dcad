"""Learning rates of classes: the grid around a default of any kind, and rates that a class sets by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import plugins
from synthbench.execution.trials import tried
from synthbench.experiment.grids import NO_RATE
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.plugins.testbed import Quadratic, Run
from synthbench.trainer.optimizers import OPTIMIZERS
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.plugins.by_hand import DECAY, MODEL, RATES, moved_by_hand, moved_by_us

CLASSES = """
import numpy, torch
required = object()

class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * p.grad)

class OfTensor(Plain):
    "Its default is one tensor for all instances; its vectors have a rate of their own."
    def __init__(self, params, lr=torch.tensor(2e-3), weight_decay=0.0):
        params = list(params)
        vectors = {"params": [p for p in params if p.ndim < 2], "lr": torch.tensor(4e-3)}
        super().__init__([{"params": [p for p in params if p.ndim > 1]}, vectors], lr, weight_decay)

class OfNumpy(Plain):
    def __init__(self, params, lr=numpy.float64(5e-3), weight_decay=0.0):
        super().__init__(params, lr, weight_decay)

class Marked(Plain):
    def __init__(self, params, lr=required, weight_decay=0.0):
        assert lr is not required
        super().__init__(params, lr, weight_decay)

class Zero(Plain):
    def __init__(self, params, lr=0.0, weight_decay=0.0):
        assert lr > 0
        super().__init__(params, lr, weight_decay)

class Nothing(Plain):
    def __init__(self, params, lr=None, weight_decay=0.0):
        super().__init__(params, lr or 1.0, weight_decay)

class Without(Plain):
    def __init__(self, params, weight_decay=0.0):
        super().__init__(params, 0.02, weight_decay)

class Needed(Plain):
    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)

class Scheduled(Plain):
    "Warms up by itself, whatever rate it is given, with a decay of its own."
    def __init__(self, params, lr=None):
        super().__init__(params, 1.0, 0.03)
        self.steps = 0
    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 1e-2 * min(1, self.steps / 4)
        super().step()

class Restless(Plain):
    "Adds to its rate."
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] += 1e-4
        super().step()

class Divides(Plain):
    "Cannot be called at a rate of 0, which no schedule has."
    def step(self, closure=None):
        1 / self.param_groups[0]["lr"]
        super().step()
"""
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CLASSES)
    return tmp_path / "mine.py"


def run(
    call: Caller, file: Path, names: str, options: str = ""
) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """What a command that trains these classes prints as errors; its rows and its runs."""
    optimizers, out = ",".join(f"{file}:{name}" for name in names.split(",")), f"--out {file.parent}/out"
    card = tiny.write(file.parent, tiny.RUNNER.replace("lr = [", "lr.adamw = ["))  # others have rates of their own
    command = f"run {card} --optimizer {optimizers} --seeds 1 --jobs 1 --quiet {out} {options}"
    code, _, err = call(command)
    assert code == 0, err
    runs = [json.loads(line) for line in call(f"export --format jsonl {out}").out.splitlines()]
    return err, json.loads(call(f"report --format json {out}").out)["rows"], runs


DEFAULTS = {
    "OfTensor": 2e-3, "OfNumpy": 5e-3, "Marked": 1e-3, "Zero": 1e-3, "Nothing": 1e-3, "Without": 1e-3, "Needed": 1e-3,
}  # fmt: skip


def test_a_grid_lies_around_a_default_of_any_kind(call: Caller, file: Path) -> None:
    err, _, runs = run(call, file, ",".join(DEFAULTS))
    assert (
        err
        == "synthbench: mine.py:OfTensor: 2 groups: rate x 1, the card's weight decay; rate x 2, the card's weight decay.\n"
    )
    for name, default in DEFAULTS.items():
        grid = tuple(float(f"{default * factor:.6g}") for factor in FACTORS)
        assert OPTIMIZERS[f"mine.py:{name}"].grid == grid
        for stage in ("pretrain", "finetune"):
            mine = [one for one in runs if (one["optimizer"], one["stage"]) == (f"mine.py:{name}", stage)]
            assert {one["lr"] for one in mine} >= {*grid}  # and those that the grid was extended to
            assert {one["status"] for one in mine} == {"ok"}


@each("rates", RATES)
@each("name", [name for name in DEFAULTS if name != "OfTensor"])
def test_the_rate_of_the_run_is_in_force(file: Path, name: str, rates: list[float]) -> None:
    def make(parts: Any) -> Any:
        optimizer = torch.optim.SGD([p for group in parts.values() for p in group], weight_decay=DECAY)
        return [optimizer], lambda lr: optimizer.param_groups[0].update(lr=lr)

    ours, hand = moved_by_us(plugins.take(f"{file}:{name}"), rates), moved_by_hand(make, rates)
    torch.testing.assert_close(ours, hand, rtol=1e-6, atol=1e-7)


def test_a_default_that_is_a_tensor_is_the_same_for_every_fleet(file: Path) -> None:
    label = plugins.take(f"{file}:OfTensor")
    first, *others = [moved_by_us(label, rates) for rates in (RATES[0], RATES[2], RATES[0])]
    assert torch.equal(first, others[1])
    together = Quadratic(label, MODEL, "full", [Run(1, 1e-3), Run(2, 0.0)]).go(3)
    assert torch.equal(together.weights_KP[0], Quadratic(label, MODEL, "full", [Run(1, 1e-3)]).go(3).weights_KP[0])
    plugin = plugins.plugin_of(label)
    assert plugin is not None
    assert plugin.value.written.__init__.__defaults__[0] == torch.tensor(2e-3)


def test_a_class_that_schedules_by_itself_runs_once_and_a_decay_of_its_own_makes_one_row(
    call: Caller, file: Path
) -> None:
    err, rows, runs = run(call, file, "Scheduled,Plain", "--weight-decay 0,0.1 --lr 1e-3,1e-2")
    said = "it sets its learning rate itself (two rates gave the same weights), so it runs at one"
    assert err == f"synthbench: mine.py:Scheduled: {said}; its own weight decay, 0.03, is in force, not the card's.\n"
    shown = [(row["optimizer"], row["decay"], row["own_rate"], row["runs"]) for row in rows]
    assert sorted(shown) == [
        ("mine.py:Plain", "0", False, 2), ("mine.py:Plain", "0.1", False, 2), ("mine.py:Scheduled", "own 0.03", True, 1),
    ]  # fmt: skip
    assert [one["lr"] for one in runs if one["optimizer"] == "mine.py:Scheduled"] == [NO_RATE, NO_RATE]  # by stage
    printed = call(f"report --format markdown --out {file.parent}/out").out
    assert "| mine.py:Scheduled | full     | own 0.03 | 1x1      | own" in printed


def test_rate_and_decay_are_in_force_where_an_adamw_beside_heeds_them(file: Path) -> None:
    settings = ["routing=hidden", "stages.finetune.update=['full', 'lora-4']"]
    request = RunRequest(str(tiny.write(file.parent)), [f"{file}:Scheduled"], settings=settings, device="cpu")
    (spec,) = tried(resolve(request)).optimizers.values()
    assert spec.has_rate
    assert spec.heeds_decay
    assert spec.arguments["decay_in_force"] == "card, own 0.03"


def test_weights_that_move_at_rate_0_are_said(call: Caller, file: Path) -> None:
    err, rows, _ = run(call, file, "Restless,Divides")
    assert err == "synthbench: mine.py:Restless: it moves weights at learning rate 0, too.\n"
    assert {row["own_rate"] for row in rows} == {False}
