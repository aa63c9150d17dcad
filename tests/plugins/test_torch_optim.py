"""Any torch.optim.Optimizer through the door for strangers: equal to the built-in rule, and to itself in any fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbench import plugins
from synthbench.errors import BadInput
from synthbench.trainer.loop import train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.rules import OPTIMIZERS, RULES
from synthbench.trainer.schedule import Schedule
from tests.trainer import small
from tests.trainer.small import Run

STEPS = 50


def curve(name: str, runs: list[Run], update: str = "full", steps: int = STEPS, **arguments: Any) -> Any:
    """The losses of a fleet, (T, K), and the fleet."""
    seeds_K = [run.seed for run in runs]
    fleet = small.fleet(seeds_K, update)
    routing = plugins.routed(arguments.get("routing", OPTIMIZERS[name].arguments().routing), name)  # type: ignore[attr-defined]
    moving = FleetOptimizer(name, fleet, arguments, routing)
    rates = [run.lr for run in runs], [run.weight_decay for run in runs]
    return train(
        moving, small.data(seeds_K, steps), Schedule(steps, "cosine", 0.1), rates, (), lambda step: None
    ), fleet


RUNS = [Run(1, 1e-3, 0.1), Run(2, 3e-3, 0.0), Run(3, 1e-2, 0.5)]


@pytest.mark.parametrize("update", ["full", "full-hidden", "lora-4"])
@pytest.mark.parametrize(
    ("theirs", "ours", "arguments"),
    [("AdamW", "adamw", {}), ("AdamW", "adamw", {"betas": [0.8, 0.9]}), ("SGD", "sgd", {"momentum": 0.9})],
)
def test_torch_s_optimizers_equal_the_built_in_rules(theirs: str, ours: str, arguments: Any, update: str) -> None:
    name = plugins.take(f"torch.optim:{theirs}").label
    theirs_TK, _ = curve(name, RUNS, update, **arguments)
    built_in = FleetOptimizer(ours, fleet := small.fleet([1, 2, 3], update), arguments)
    rates = [run.lr for run in RUNS], [run.weight_decay for run in RUNS]
    ours_TK = train(
        built_in, small.data([1, 2, 3], STEPS), Schedule(STEPS, "cosine", 0.1), rates, (), lambda step: None
    )
    assert fleet is built_in.fleet
    np.testing.assert_allclose(theirs_TK, ours_TK, rtol=1e-5, atol=0)


def muons(**built_in: Any) -> tuple[Any, Any]:
    """The losses of torch.optim.Muon through this door, and of the built-in Muon with these arguments: (T, K) each."""
    name = plugins.take("torch.optim:Muon").label
    assert OPTIMIZERS[name].routing == plugins.routed("hidden", name)
    theirs_TK, _ = curve(name, RUNS, adjust_lr_fn="match_rms_adamw")
    ours = FleetOptimizer("muon", small.fleet([1, 2, 3]), built_in)
    rates = [run.lr for run in RUNS], [run.weight_decay for run in RUNS]
    schedule = Schedule(STEPS, "cosine", 0.1)
    return theirs_TK, train(ours, small.data([1, 2, 3], STEPS), schedule, rates, (), lambda step: None)


def test_torch_s_muon_equals_the_built_in_rule_once_its_products_are_in_float32_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch casts to bfloat16 whatever it is given; with that cast alone left out nothing else parts the two."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    np.testing.assert_allclose(*muons(dtype="float32"), rtol=1e-5, atol=0)


def test_torch_s_muon_as_it_is_stays_near_the_built_in_rule_in_bfloat16() -> None:
    """Products are rounded to 8 bits in another order, which training amplifies: 1.3e-3 at most where this was written."""
    theirs_TK, ours_TK = muons(dtype="bfloat16")
    np.testing.assert_allclose(theirs_TK, ours_TK, rtol=5e-3, atol=0)


class Clipped(torch.optim.SGD):
    """SGD that clips by the norm over all of its own parameters."""

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


@pytest.mark.parametrize("made_by", [Clipped, Noisy])
def test_a_class_with_a_global_norm_or_random_numbers_is_bitwise_independent_of_the_fleet(made_by: type) -> None:
    name = plugins.take_object(made_by).label
    together_TK, fleet = curve(name, RUNS, steps=10)
    for k, run in enumerate(RUNS):
        alone_TK, alone = curve(name, [run], steps=10)
        assert torch.equal(alone.flat_KP[0], fleet.flat_KP[k])
        assert np.array_equal(alone_TK[:, 0], together_TK[:, k])


def test_random_numbers_of_a_plug_in_disturb_nobody_else_s() -> None:
    name = plugins.take_object(Noisy).label
    torch.manual_seed(5)
    before = torch.get_rng_state()
    curve(name, RUNS, steps=3)
    assert torch.equal(torch.get_rng_state(), before)


class Averaged(torch.optim.SGD):
    """Looks at the mean of the weights at the start and now."""

    def __init__(self, params: Any, lr: float = 1e-2) -> None:
        super().__init__(params, lr=lr)
        self.start = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        self.kept: list[Any] = []
        self.calls: list[str] = []

    def _all(self) -> list[Any]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def eval(self) -> None:
        self.calls.append("eval")
        self.kept = [p.detach().clone() for p in self._all()]
        for p, start in zip(self._all(), self.start, strict=True):
            p.lerp_(start, 0.5)

    @torch.no_grad()
    def train(self) -> None:
        self.calls.append("train")
        for p, kept in zip(self._all(), self.kept, strict=False):
            p.copy_(kept)


def test_train_and_eval_are_called_around_every_look() -> None:
    name = plugins.take_object(Averaged).label
    fleet = small.fleet([1])
    start = fleet.flat_KP.detach().clone()
    moving = FleetOptimizer(name, fleet, {}, plugins.routed("all", name))
    seen: list[torch.Tensor] = []
    train(
        moving, small.data([1], 4), Schedule(4, "constant", 0.0), ([1e-1], [0.0]), (0, 2, 4),
        lambda step: seen.append(fleet.flat_KP.detach().clone()),
    )  # fmt: skip
    plain = small.fleet([1])
    RULES["plain"] = RULES["sgd"]
    free = FleetOptimizer("sgd", plain, {"momentum": 0.0})
    told: list[torch.Tensor] = []
    train(
        free, small.data([1], 4), Schedule(4, "constant", 0.0), ([1e-1], [0.0]), (0, 2, 4),
        lambda step: told.append(plain.flat_KP.detach().clone()),
    )  # fmt: skip
    assert torch.equal(seen[0], start)
    for averaged, trained in zip(seen[1:], told[1:], strict=True):
        torch.testing.assert_close(averaged, (start + trained) / 2, rtol=1e-5, atol=1e-7)
    assert torch.equal(fleet.flat_KP.detach(), seen[-1])  # what is saved is what was looked at


@pytest.mark.parametrize("routing", ["all", "hidden"])
def test_routing_is_an_argument(routing: str) -> None:
    name = plugins.take("torch.optim:SGD").label
    _, fleet = curve(name, RUNS, steps=1, routing=routing)
    moving = FleetOptimizer(name, fleet, {"routing": routing}, plugins.routed(routing, name))  # type: ignore[arg-type]
    movers = set(moving.routing.values())
    assert movers == ({name} if routing == "all" else {name, plugins.BESIDE})


def test_an_unknown_argument_is_a_sentence_and_known_ones_are_kept_as_given() -> None:
    card = OPTIMIZERS[plugins.take("torch.optim:AdamW").label].arguments
    assert card.model_validate({"betas": [0.9, 0.99]}).model_dump()["betas"] == [0.9, 0.99]
    with pytest.raises(ValueError, match="has no argument 'beta'; did you mean 'betas'"):
        card.model_validate({"beta": 1})


def test_the_grid_lies_around_the_constructor_s_rate() -> None:
    assert OPTIMIZERS[plugins.take("torch.optim:AdamW").label].grid == (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


BAD = """
import torch
class Base(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, dict(lr=lr))
class Closure(Base):
    def step(self, closure): pass
class Moves(Base):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data - group["lr"] * p.grad
class Lazy(Base):
    def step(self, closure=None): pass
class Shapes(Base):
    def __init__(self, params, lr=1e-3):
        params = list(params)
        if any(p.shape[0] != p.shape[1] for p in params): raise ValueError("only square matrices")
        super().__init__(params, lr)
    def step(self, closure=None): pass
class Thing: pass
torch.set_num_threads(3)
torch.use_deterministic_algorithms(True)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Closure", "needs a closure"),
        ("Moves", "gives its parameters other memory; it must change them in place"),
        ("Lazy", "moved nothing in 12 steps with gradients"),
        ("Shapes", "cannot be made of a list of the model's parameters: ValueError: only square matrices; keys of"),
        ("Thing", "is no torch.optim.Optimizer class"),
        ("Missing", "has no 'Missing'"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    from synthbench.experiment.resolve import Asked, resolve

    (tmp_path / "bad.py").write_text(BAD)
    threads = torch.get_num_threads()
    with pytest.raises(BadInput) as caught:
        resolve(Asked(optimizers=[f"{tmp_path}/bad.py:{name}"], device="cpu"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)
    assert not list(tmp_path.rglob("*.pyc"))


def test_settings_that_an_import_changed_are_put_back_and_named(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(BAD.replace("class Thing: pass", "class Thing(torch.optim.SGD): pass"))
    found = plugins.take(f"{tmp_path}/good.py:Thing")
    assert {"threads", "deterministic algorithms"} <= set(found.changed)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_edit_of_the_file_or_of_its_neighbour_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "near_one.py").write_text("RATE = 1.0\n")
    text = "import torch\nfrom near_one import RATE\nimport near_one\nclass Mine(torch.optim.SGD):\n    factor = RATE\n"
    (tmp_path / "mine.py").write_text(text)
    first = plugins.take(f"{tmp_path}/mine.py:Mine").source
    assert plugins.take(f"{tmp_path}/mine.py:Mine").source == first
    (tmp_path / "near_one.py").write_text("RATE = 2.0\n")
    second = plugins.take(f"{tmp_path}/mine.py:Mine").source
    (tmp_path / "mine.py").write_text(text + "EDITED = True\n")
    assert len({first, second, plugins.take(f"{tmp_path}/mine.py:Mine").source}) == 3
