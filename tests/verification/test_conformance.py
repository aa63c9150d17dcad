"""Every optimizer passes the checks; every check detects an optimizer that violates it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from synthbench import fleet_optimizer, matrix_optimizer, plugins
from synthbench.cards import MODELS, ModelCard
from synthbench.experiment.optimizers import spec_of
from synthbench.plugins import testbed
from synthbench.plugins.errors import NEEDS_CLOSURE
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.verification import conformance
from synthbench.verification.conformance import CHECKS
from tests.each import each

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BUILT_IN = sorted(OPTIMIZERS)
OTHERS = [
    *(f"{EXAMPLES}/{name}" for name in ("signum.py:Signum", "lion.py:lion", "orthogonal.py:orthogonal")),
    *(f"torch.optim:{name}" for name in ("AdamW", "SGD", "Muon", "Adafactor")),
]


def failures(candidate: str) -> dict[str, str]:
    names = {title: check.__name__ for title, check in CHECKS.items()}
    return {names[title]: sentence for title, sentence in conformance.outcomes(candidate) if sentence}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_optimizer_passes_every_check(name: str) -> None:
    assert failures(conformance.candidate(name)) == {}


FAST = [(name, conformance.UPDATES[index % 3]) for index, name in enumerate(OTHERS)]
CROSSED = [(name, update) for name in OTHERS for update in conformance.UPDATES]


@pytest.mark.parametrize(
    ("name", "update"),
    [*FAST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in CROSSED if pair not in FAST)],
    ids=lambda name_or_update: name_or_update.rpartition("/")[2],
)
def test_a_plug_in_passes_every_check(name: str, update: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "UPDATES", (update,))
    assert failures(conformance.candidate(name)) == {}


def test_the_styles_have_every_option_of_a_model() -> None:
    for option, field in ModelCard.model_fields.items():
        if choices := get_args(field.annotation):
            assert {getattr(model, option) for model in conformance.STYLES.values()} == set(choices), option
    assert set(MODELS) <= set(conformance.STYLES)


@pytest.mark.slow
@pytest.mark.parametrize("preset", MODELS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_optimizer_is_finite_at_the_width_of_a_preset(name: str, preset: str) -> None:
    model = MODELS[preset].model_copy(update={"layers": 1})
    fleet, curve_TK = testbed.language(name, model, "full", 1e-3, steps=2)
    assert fleet.flat_KP.isfinite().all()
    assert curve_TK.shape == (2, 1)


class Base(torch.optim.Optimizer):
    """SGD, the base of the broken optimizers."""

    def __init__(self, params: Any, lr: float = 1e-2, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.move(p, p.grad, group["lr"])

    def move(self, p: Any, grad: Any, lr: float) -> None:
        p.sub_(lr * grad)


class NeedsClosure(Base):
    def step(self, closure: Any) -> None:  # type: ignore[override]
        closure()


class UsesClosure(Base):
    def step(self, closure: Any = None) -> None:
        closure()
        super().step()


class NaNOnVectors(Base):
    """Divides by the variance over rows, which is undefined for one row."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        rows = grad.view(-1, grad.shape[-1])
        variance = (rows - rows.mean(0)).square().sum(0) / (len(rows) - 1)
        p.sub_(lr * grad / (1 + variance))


class NaNOnZeros(Base):
    """Normalizes without an epsilon: the embedding of a token in no batch has a gradient of zero."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        p.sub_(lr * grad / grad.norm(dim=-1, keepdim=True))


class LeavesVectors(Base):
    def move(self, p: Any, grad: Any, lr: float) -> None:
        if p.ndim == 2:
            p.sub_(lr * grad)


class IgnoresRate(Base):
    def move(self, p: Any, grad: Any, lr: float) -> None:
        p.sub_(1e-2 * grad)


class DecaysAtAnyRate(Base):
    """Weight decay is not multiplied by the learning rate."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        p.mul_(1 - 0.01 * self.param_groups[0]["weight_decay"]).sub_(lr * grad)


class CountsTogether(Base):
    """Its warm-up counts the steps of all instances."""

    steps = 0

    def move(self, p: Any, grad: Any, lr: float) -> None:
        type(self).steps += 1
        p.sub_(lr * self.steps / 1e6 * grad)


class StateInAttributes(Base):
    """Momentum outside of state_dict."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        momentum = vars(self).setdefault("momentum", {}).setdefault(id(p), torch.zeros_like(p))
        p.sub_(lr * momentum.mul_(0.9).add_(grad))


def flat(step: Callable[..., None], **arguments: Any) -> Any:
    return fleet_optimizer(step, lr=1e-2, **arguments)


def means_over_runs(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """The mean size of gradients is taken over the whole fleet."""
    for block in blocks:
        block.value_Kn.sub_(hyper.lr_K[:, None] * block.grad_Kn / (1 + block.grad_Kn.abs().mean()))


def spreads_nan(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """Equal to gradient descent, until a run diverges."""
    for block in blocks:
        block.value_Kn.sub_(hyper.lr_K[:, None] * block.grad_Kn + 0 * block.grad_Kn.sum())


def unseeded(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    for block in blocks:
        noise_Kn = torch.randn(block.grad_Kn.shape).mul_(1e-3)
        block.value_Kn.sub_(hyper.lr_K[:, None] * (block.grad_Kn + noise_Kn))


MODULE_STATE: dict[int, Any] = {}


def in_a_global(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """Momentum in a dictionary of the module. A new fleet starts without it; only a rebuild shows the fault."""
    if hyper.step == 1:
        MODULE_STATE.clear()
    for index, block in enumerate(blocks):
        momentum = MODULE_STATE.setdefault(index, torch.zeros_like(block.value_Kn))
        block.value_Kn.sub_(hyper.lr_K[:, None] * momentum.mul_(0.9).add_(block.grad_Kn))


def kept_views(blocks: Any, arguments: Any) -> Any:
    return {"values": [block.value_Kn for block in blocks]}


def moves_kept_views(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """Moves the weights that it got at its start, not those of the step."""
    for value_Kn, block in zip(state["values"], blocks, strict=True):
        value_Kn.sub_(hyper.lr_K[:, None] * block.grad_Kn)


BROKEN = [
    (NeedsClosure, "is_accepted"), (NaNOnVectors, "is_accepted"), (NaNOnZeros, "is_finite"),
    (DecaysAtAnyRate, "rate_zero_changes_nothing"),
    (CountsTogether, "is_independent_of_the_fleet"), (flat(means_over_runs), "is_independent_of_the_fleet"),
    (flat(unseeded), "is_repeatable"), (flat(in_a_global), "survives_being_rebuilt"),
]  # fmt: skip
BROKEN_IN_ONE_WAY = [
    (LeavesVectors, "lowers_a_quadratic"), (IgnoresRate, "rate_zero_changes_nothing"),
    (flat(spreads_nan), "keeps_a_divergence_to_itself"),
    (flat(moves_kept_views, start=kept_views), "survives_being_rebuilt"), (StateInAttributes, "survives_being_rebuilt"),
]  # fmt: skip


@each(("broken", "check_name"), BROKEN)
def test_a_broken_optimizer_fails_its_check(broken: Any, check_name: str) -> None:
    candidate = conformance.candidate(broken)
    sentence = conformance.outcome(getattr(conformance, check_name), candidate)
    assert sentence is not None
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(("broken", "check_name"), BROKEN_IN_ONE_WAY)
def test_one_fault_fails_exactly_one_check(broken: Any, check_name: str) -> None:
    candidate = conformance.candidate(broken)
    assert set(failures(candidate)) == {check_name}


OTHER = {
    "momentum": 0.5, "nesterov": (True, False), "betas": [0.8, 0.9], "eps": 1e-6, "steps": 3,
    "coefficients": [1.5, -0.5, 0.0], "dtype": "bfloat16", "scale": "original", "aux_lr_ratio": 0.5,
    "routing": ("all", "hidden"), "group": {"key": 1}, "groups": "muon", "aux_group": {"key": 1}, "named": True,
    "own_rate": True, "decay_in_force": "none",
}  # fmt: skip


@pytest.mark.parametrize("name", [*BUILT_IN, "torch.optim:SGD", "torch.optim:Muon"])
def test_every_value_of_every_argument_has_its_own_fingerprint(name: str) -> None:
    label = plugins.name_of(name)
    card = OPTIMIZERS[label].arguments
    default = card().model_dump()
    settings: list[dict[str, Any]] = [{}]
    for argument in card.model_fields:
        values = OTHER[argument] if isinstance(OTHER[argument], tuple) else [OTHER[argument]]
        settings += [{argument: value} for value in values if value != default[argument]]
    assert len(settings) == 1 + len(card.model_fields)
    settings += [{"momentum": 0.25}, {"momentum": 0.125}] if plugins.plugin_of(label) else []
    fingerprints = {spec_of(label, card.model_validate(setting)).fingerprint for setting in settings}
    assert len(fingerprints) == len(settings)


def raises(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    raise RuntimeError("two\nlines")


def test_an_optimizer_that_raises_fails_in_one_sentence_with_file_and_line() -> None:
    @matrix_optimizer()
    def broken(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        raise RuntimeError("two\nlines")

    lines = broken.written.__code__.co_firstlineno + 2, raises.__code__.co_firstlineno + 1
    for optimizer, line in zip((broken, flat(raises)), lines, strict=True):
        candidate = conformance.candidate(optimizer)
        sentence = conformance.outcome(conformance.is_finite, candidate)
        assert sentence is not None
        assert f"RuntimeError: two\\nlines (test_conformance.py, line {line})" in sentence


def test_an_optimizer_that_is_not_accepted_is_checked_no_further() -> None:
    candidate = conformance.candidate(UsesClosure)
    ((title, sentence),) = conformance.outcomes(candidate)
    assert CHECKS[title] is conformance.is_accepted
    assert sentence is not None
    line = UsesClosure.step.__wrapped__.__code__.co_firstlineno + 1  # type: ignore[attr-defined]
    assert f"{NEEDS_CLOSURE} (test_conformance.py, line {line})" in sentence
