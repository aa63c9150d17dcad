"""Custom torch.optim.Optimizer classes on the command line: what they need, print and change, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import plugins
from synthbench.common.errors import BadInput
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.plugins import registry, torch_optim
from synthbench.trainer.loop import train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.trainer.schedule import Schedule
from tests import tiny
from tests.calling import Caller, Completed
from tests.each import each
from tests.plugins.test_errors import error_message
from tests.plugins.test_generator_plugins import write
from tests.trainer import small

CLASSES = """
import torch

class Base(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, **more):
        super().__init__(params, {"lr": lr, **more})
        self.steps = 0
    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)

class TakesNothing(Base):
    def __init__(self):
        pass

class Plain(Base):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr)

class Decays(Base):
    "Applies the weight decay of its constructor by itself."
    def __init__(self, params, lr=1e-3, weight_decay=0.5):
        super().__init__(params, lr)
        self.decay = weight_decay
    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.mul_(1 - self.param_groups[0]["lr"] * self.decay)

class Flagged(Base):
    "Moves the groups that have a flag."
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if group["flag"]:
                super().step()

class Leaves(Base):
    def step(self, closure=None):
        raise SystemExit(0)

class TwoGroups(Base):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr)
        if len(self.param_groups) < 2:
            raise ValueError("give matrices and vectors as two groups")

class NoRate(Base):
    def __init__(self, params):
        super().__init__(params)
        self.param_groups[0].pop("lr")

class Needs(Base):
    def __init__(self, params, horizon, lr=1e-3):
        super().__init__(params, lr)

class Nonsense(Base):
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.data.fill_(float("nan"))

class MovesLater(Base):
    first = 3
    def step(self, closure=None):
        super().step()
        if self.steps >= self.first:
            for p in self.param_groups[0]["params"]:
                p.data = p.data.clone()

class FailsLater(Base):
    def step(self, closure=None):
        super().step()
        if self.steps == 3:
            raise TypeError("no third step")

class Breaks(Base):
    "Its algebra fails at high rates."
    def step(self, closure=None):
        if self.param_groups[0]["lr"] > 0.5:
            torch.linalg.cholesky(-torch.eye(2))
        super().step()

class Closure(Base):
    def step(self, closure): pass

class RequiresClosure(Base):
    def step(self, closure=None):
        if closure is None:
            raise LookupError("RequiresClosure requires a closure, e.g. lambda: loss")

class Wraps(Base):
    def __init__(self, optimizer, k=5):
        self.param_groups = optimizer.param_groups

class WrapsClass(Base):
    def __init__(self, params, rho, base_optimizer, lr=1e-3):
        super().__init__(params, lr)

class Imports(Base):
    def __init__(self, params, lr=1e-3):
        raise ImportError("install what_is_missing")

class Lazy(Base):
    def step(self, closure=None): pass

class Moves(MovesLater):
    first = 1

class Thing: pass

class Talks(Base):
    def step(self, closure=None):
        print("step taken")
        super().step()
"""
CHANGES = """
print("hello from the import")
torch.set_default_dtype(torch.float64)
torch.set_float32_matmul_precision("medium")
torch.set_num_threads(3)
torch.use_deterministic_algorithms(True)
"""
SETTINGS = "threads, default dtype, deterministic algorithms, float32 precision"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CLASSES)
    return tmp_path / "mine.py"


def trained(
    label: str, lr_K: list[float], decay: float = 0.0, steps: int = 4, **arguments: Any
) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Losses (T, K), weights before and after (K, P) of runs that differ in rate alone."""
    fleet = small.fleet([1] * len(lr_K))
    before = fleet.flat_KP.detach().clone()
    optimizer = FleetOptimizer(label, fleet, arguments, registry.routed(arguments.get("routing", "all"), label))
    rates = lr_K, [decay] * len(lr_K)
    data, schedule = small.data([1] * len(lr_K), steps), Schedule(steps, "constant", 0.0)
    return train(optimizer, data, schedule, rates, (), lambda step: None), before, fleet.flat_KP.detach()


def test_weight_decay_reaches_a_class_that_applies_it_by_itself(file: Path) -> None:
    _, before, after = trained(plugins.take(f"{file}:Decays"), [0.1, 0.1], decay=0.25, steps=1)
    torch.testing.assert_close(after, before * (1 - 0.1 * 0.25), rtol=1e-6, atol=0)


def test_keys_of_the_group_are_arguments(file: Path) -> None:
    label = plugins.take(f"{file}:Flagged")
    with pytest.raises(BadInput, match=r"step 1.*KeyError: 'flag'"):
        trained(label, [0.1])
    _, before, after = trained(label, [0.1], group={"flag": False})
    assert torch.equal(before, after)
    assert not torch.equal(before, trained(label, [0.1], group={"flag": True})[2])


def run(call: Caller, file: Path, name: str, options: str = "") -> Completed:
    """Runs a class with a small model."""
    command = f"--optimizer {file}:{name} --set seeds=1 --jobs 1 --quiet --out {file.parent}/out {options}"
    return call(f"run {tiny.write(file.parent)} {command}")


def test_beside_a_hidden_plug_in_adamw_moves_the_rest_at_aux_lr_ratio(file: Path) -> None:
    label = plugins.take(f"{file}:Plain")
    largest_move = {}
    for ratio in (1.0, 0.01):
        _, before, after = trained(label, [0.1], steps=1, routing="hidden", aux_lr_ratio=ratio)
        embedding = small.fleet([1]).layout.parameters["embedding"]
        largest_move[ratio] = (
            (after - before)[:, embedding.offset : embedding.offset + embedding.size].abs().max().item()
        )
    assert largest_move[1.0] == pytest.approx(0.1, rel=1e-3)  # the size of AdamW's first step is the learning rate
    assert largest_move[0.01] == pytest.approx(0.001, rel=1e-3)


def test_a_run_whose_algebra_fails_diverges_alone(file: Path) -> None:
    label = plugins.take(f"{file}:Breaks")
    losses_TK, _, after = trained(label, [0.1, 1.0])
    assert torch.isfinite(after[0]).all()
    assert torch.isnan(after[1]).any()
    alone_TK, _, alone = trained(label, [0.1])
    assert torch.equal(alone[0], after[0])
    assert (alone_TK[:, 0] == losses_TK[:, 0]).all()

    # An error counts as divergence where a parameter is not finite.
    finite, diverged = (torch.nn.Parameter(torch.tensor([value])) for value in (1.0, float("inf")))
    assert not torch_optim.has_diverged(RuntimeError("what"), [finite])
    assert torch_optim.has_diverged(RuntimeError("what"), [finite, diverged])


@each(
    ("name", "sentence"),
    [
        ("TwoGroups", "ValueError: give matrices and vectors as two groups"), ("NoRate", "KeyError: 'lr'"),
        ("Needs", "--set optimizer.horizon="), ("Nonsense", "lr 0.001"), ("Flagged", "KeyError: 'flag'"),
        ("Leaves", "SystemExit: 0 (mine.py, line"), ("Closure", "closure"), ("Lazy", "12 steps"), ("Moves", "in place"),
        ("Thing", "torch.optim.Optimizer"), ("TakesNothing", "TypeError"),
        ("RequiresClosure", "it needs a closure; the losses of many runs are computed together"),
        ("Wraps", "wraps another optimizer, 'optimizer'; write a class in a file whose constructor takes params"),
        ("WrapsClass", "wraps another optimizer, 'base_optimizer'; write a class"),
        ("Imports", "parameters: ImportError: install what_is_missing (mine.py, line 104)."),
    ],
)  # fmt: skip
def test_a_failed_trial_is_one_sentence_and_leaves_no_settings_or_files_behind(
    file: Path, name: str, sentence: str
) -> None:
    threads = torch.get_num_threads()
    assert sentence in error_message(file, CLASSES + CHANGES, name)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)
    assert not list(file.parent.rglob("*.pyc"))


@each(("name", "sentence"), [("MovesLater", "in place"), ("FailsLater", "step 3: TypeError: no third step")])
def test_a_failure_in_training_is_one_sentence(call: Caller, file: Path, name: str, sentence: str) -> None:
    code, _, err = run(call, file, name)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.processes
def test_output_and_changed_settings_affect_no_result_and_are_recorded(call: Caller, file: Path) -> None:
    """Also in a worker, which loads the class and the generator of the card from their files."""
    file.write_text(CLASSES + CHANGES)
    task = write(file.parent / "task")
    code, out, err = run(call, file, "Talks", f"--task {task}")
    assert code == 0, err
    assert "hello" not in out
    assert "step taken" not in out
    assert err.count("step taken") > 12  # more steps than the trial has: workers print, too
    assert err.count(SETTINGS) == 1
    assert torch.get_default_dtype() == torch.float32
    runs = [json.loads(line) for line in call(f"export --format jsonl --out {file.parent}/out").out.splitlines()]
    report = json.loads(call(f"report --format json --out {file.parent}/out").out)
    for versions in (*(record["versions"] for record in runs), report["versions"]):
        assert versions["put back after mine.py:Talks"] == SETTINGS


def test_routing_applies_to_plug_ins_and_arguments_to_the_optimizer_that_is_named(file: Path) -> None:
    settings = ['arguments."mine.py:Flagged".group={flag=true}', "routing=hidden"]
    request = RunRequest(optimizers=["adamw", f"{file}:Plain", f"{file}:Flagged"], settings=settings, device="cpu")
    optimizers = resolve(request).optimizers
    assert optimizers["adamw"].routing == OPTIMIZERS["adamw"].routing
    assert optimizers["mine.py:Plain"].routing == registry.routed("hidden", "mine.py:Plain")
    assert [optimizers[f"mine.py:{name}"].arguments["group"] for name in ("Plain", "Flagged")] == [{}, {"flag": True}]
    with pytest.raises(BadInput, match=r"^--set routing='hidden' .*adamw, muon"):
        resolve(RunRequest(optimizers=["adamw", "muon"], settings=["routing=hidden"], device="cpu"))
    with pytest.raises(BadInput, match=r"routing = 'none'.*hidden"):
        resolve(RunRequest(optimizers=[f"{file}:Plain"], settings=["routing=none"], device="cpu"))


@each(
    ("name", "setting", "sentence"),
    [
        ("Plain", "optimizer.beta=1", "'beta'"), ("Base", "optimizer.lr=1", "--lr"),
        ("Decays", "optimizer.weight_decay=1", "--weight-decay"), ("Plain", "optimizer.aux_lr_ratio=0", "aux_lr_ratio"),
    ],
)  # fmt: skip
def test_arguments_are_checked(file: Path, name: str, setting: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(RunRequest(optimizers=[f"{file}:{name}"], settings=[setting], device="cpu"))
    assert sentence in str(caught.value)


def test_a_misspelled_argument_is_rejected_even_where_any_name_is_accepted() -> None:
    class TakesAny(torch.optim.SGD):
        def __init__(self, params: Any, weight_decouple: bool = False, **others: Any) -> None:
            super().__init__(params)

    optimizer = torch_optim.custom_optimizer(TakesAny)
    card = registry.arguments_card("Any", optimizer, registry.ClassArguments)
    assert card.model_validate({"own": 1}).model_dump()["own"] == 1
    with pytest.raises(ValueError, match=r"'weight_decoupel'.*'weight_decouple'"):
        card.model_validate({"weight_decoupel": True})


def test_an_exit_in_custom_code_is_an_internal_error(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves(*_: object, **__: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("synthbench.interface.outcome.app", leaves)
    code, _, err = call("check b.json")
    assert code == 4
    assert "SystemExit: 0" in err
