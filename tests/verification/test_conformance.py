"""Every optimizer passes the checks; every check catches the optimizer that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import Field

from synthbench import fleet_optimizer, matrix_optimizer
from synthbench.cards import MODELS, Card, ModelCard
from synthbench.plugins.errors import NEEDS_CLOSURE
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, Optimizer, sgd
from synthbench.verification import conformance, testbed
from synthbench.verification.conformance import CHECKS, Candidate
from tests.each import each

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BUILT_IN = sorted(OPTIMIZERS)
OTHERS = [
    *(f"{EXAMPLES}/{name}" for name in ("signum.py:Signum", "lion.py:lion", "orthogonal.py:orthogonal")),
    *(f"torch.optim:{name}" for name in ("AdamW", "SGD", "Muon", "Adafactor")),
]


def failures(candidate: Candidate) -> dict[str, str]:
    names = {title: check.__name__ for title, check in CHECKS.items()}
    return {names[title]: sentence for title, sentence in conformance.outcomes(candidate) if sentence}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_optimizer_passes_every_check(name: str) -> None:
    assert failures(conformance.candidate(name)) == {}


DRAWN = [(name, conformance.UPDATES[place % 3]) for place, name in enumerate(OTHERS)]
CROSSED = [(name, update) for name in OTHERS for update in conformance.UPDATES]


@pytest.mark.parametrize(
    ("name", "update"),
    [*DRAWN, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in CROSSED if pair not in DRAWN)],
    ids=lambda one: one.rpartition("/")[2],
)
def test_a_plug_in_passes_every_check(name: str, update: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "UPDATES", (update,))
    assert failures(conformance.candidate(name)) == {}


def test_every_option_of_a_model_is_among_the_styles() -> None:
    for option, field in ModelCard.model_fields.items():
        if choices := get_args(field.annotation):
            assert {getattr(model, option) for model in conformance.STYLES.values()} == set(choices), option
    assert set(MODELS) <= set(conformance.STYLES)


@pytest.mark.slow
@pytest.mark.parametrize("preset", MODELS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_optimizer_is_finite_on_a_preset_s_own_width(name: str, preset: str) -> None:
    model = MODELS[preset].model_copy(update={"layers": 1})
    fleet, curve_TK = testbed.language(name, model, "full", 1e-3, steps=2)
    assert fleet.flat_KP.isfinite().all()
    assert curve_TK.shape == (2, 1)


class Base(torch.optim.Optimizer):
    """SGD, to be broken."""

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
    """Divides by the deviation over rows, which one row has none of."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        rows = grad.view(-1, grad.shape[-1])
        variance = (rows - rows.mean(0)).square().sum(0) / (len(rows) - 1)
        p.sub_(lr * grad / (1 + variance))


class NaNOnZeros(Base):
    """Normalizes without an epsilon: the embedding of a token that no batch had has a gradient of zero."""

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
    """Decay that the rate does not multiply."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        p.mul_(1 - 0.01 * self.param_groups[0]["weight_decay"]).sub_(lr * grad)


class CountsTogether(Base):
    """Its warm-up counts the steps of all instances."""

    steps = 0

    def move(self, p: Any, grad: Any, lr: float) -> None:
        type(self).steps += 1
        p.sub_(lr * self.steps / 1e6 * grad)


class StateInAttributes(Base):
    """Momentum that no state_dict has."""

    def move(self, p: Any, grad: Any, lr: float) -> None:
        momentum = vars(self).setdefault("momentum", {}).setdefault(id(p), torch.zeros_like(p))
        p.sub_(lr * momentum.mul_(0.9).add_(grad))


def flat(step: Callable[..., None], **given: Any) -> Any:
    return fleet_optimizer(step, lr=1e-2, **given)


def means_over_runs(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """The mean gradient's size is that of the whole fleet."""
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


ELSEWHERE: dict[int, Any] = {}


def in_a_global(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """Momentum in a dictionary of the module; a new fleet begins with none, so that nothing but a stop shows it."""
    if hyper.step == 1:
        ELSEWHERE.clear()
    for place, block in enumerate(blocks):
        momentum = ELSEWHERE.setdefault(place, torch.zeros_like(block.value_Kn))
        block.value_Kn.sub_(hyper.lr_K[:, None] * momentum.mul_(0.9).add_(block.grad_Kn))


def kept_views(blocks: Any, arguments: Any) -> Any:
    return {"values": [block.value_Kn for block in blocks]}


def moves_what_it_kept(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    """Moves the weights that it saw at its start, not those that it is given."""
    for value_Kn, block in zip(state["values"], blocks, strict=True):
        value_Kn.sub_(hyper.lr_K[:, None] * block.grad_Kn)


class Hidden(sgd.SGD):
    """An argument that no identity has."""

    warmup: int = Field(default=10, exclude=True)


BROKEN = [
    (NeedsClosure, "is_accepted"), (NaNOnVectors, "is_accepted"), (NaNOnZeros, "is_finite"),
    (DecaysAtAnyRate, "rate_zero_changes_nothing"),
    (CountsTogether, "is_independent_of_the_fleet"), (flat(means_over_runs), "is_independent_of_the_fleet"),
    (flat(unseeded), "is_repeatable"), (flat(in_a_global), "survives_being_rebuilt"),
]  # fmt: skip
BROKEN_IN_ONE_WAY = [
    (LeavesVectors, "lowers_a_quadratic"), (IgnoresRate, "rate_zero_changes_nothing"),
    (flat(spreads_nan), "keeps_a_divergence_to_itself"),
    (flat(moves_what_it_kept, start=kept_views), "survives_being_rebuilt"), (StateInAttributes, "survives_being_rebuilt"),
]  # fmt: skip


@each(("broken", "caught"), BROKEN)
def test_a_broken_optimizer_is_caught_by_its_check(broken: Any, caught: str) -> None:
    candidate = conformance.candidate(broken)
    sentence = conformance.outcome(getattr(conformance, caught), candidate)
    assert sentence is not None
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(("broken", "caught"), BROKEN_IN_ONE_WAY)
def test_one_fault_is_caught_by_one_check_alone(broken: Any, caught: str) -> None:
    candidate = conformance.candidate(broken)
    assert set(failures(candidate)) == {caught}


def test_an_argument_that_no_fingerprint_has_or_that_can_have_one_value_alone_is_caught() -> None:
    OPTIMIZERS["hidden"] = Optimizer("hidden", "", "", Hidden, (("*", "hidden"),))
    IMPLEMENTATIONS["hidden"] = IMPLEMENTATIONS["sgd"]
    candidate = Candidate("hidden", {"momentum": 0.9, "nesterov": False, "warmup": 10})
    ((check, sentence),) = failures(candidate).items()
    assert check == "fingerprint_tells_arguments_apart"
    assert "warmup = 11" in sentence

    class Fixed(Card):
        kind: None = None

    OPTIMIZERS["fixed"] = Optimizer("fixed", "", "", Fixed, (("*", "fixed"),))
    IMPLEMENTATIONS["fixed"] = IMPLEMENTATIONS["sgd"]
    assert "kind" in str(conformance.fingerprint_tells_arguments_apart(Candidate("fixed", {"kind": None})))


def raises(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    raise RuntimeError("two\nlines")


def test_an_optimizer_that_raises_fails_in_one_sentence_with_its_place() -> None:
    @matrix_optimizer()
    def broken(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        raise RuntimeError("two\nlines")

    lines = broken.written.__code__.co_firstlineno + 2, raises.__code__.co_firstlineno + 1
    for optimizer, line in zip((broken, flat(raises)), lines, strict=True):
        candidate = conformance.candidate(optimizer)
        sentence = conformance.outcome(conformance.is_finite, candidate)
        assert sentence is not None
        assert f"RuntimeError: two\\nlines (test_conformance.py, line {line})" in sentence


def test_an_optimizer_that_cannot_move_anything_is_checked_no_further() -> None:
    candidate = conformance.candidate(UsesClosure)
    ((title, sentence),) = conformance.outcomes(candidate)
    assert CHECKS[title] is conformance.is_accepted
    assert sentence is not None
    line = UsesClosure.step.__wrapped__.__code__.co_firstlineno + 1  # type: ignore[attr-defined]
    assert f"{NEEDS_CLOSURE} (test_conformance.py, line {line})" in sentence
