"""Optimizers: routing of parameters, updates against torch's, properties of every registered optimizer.

Shapes: K runs, P floats in a run's row, T steps, M matrices of r rows and c columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank
from synthbench.trainer.fleet import Fleet, Views, views
from synthbench.trainer.layout import Layout
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, Block, Hyper, adamw, muon, register, route, spans
from synthbench.verification import reference
from tests.each import each
from tests.trainer import small

UPDATES = ("full", "full-hidden", "lora-4")
LR_K, DECAY_K = torch.tensor([1e-2, 3e-2, 2e-3]), torch.tensor([0.1, 0.0, 0.5])


def trainable(model: ModelCard, update: str) -> Layout:
    base = layouts.transformer(model, small.VOCABULARY, small.LENGTH)
    return {
        "full": lambda: base, "full-hidden": lambda: layouts.hidden(base), "lora-4": lambda: low_rank.adapters(base, 4)
    }[update]()  # fmt: skip


def gradients(fleet: Fleet, steps: int) -> Iterator[Tensor]:
    """Normal gradients of deviation 0.1, shape (K, P), the same at every call."""
    generator = torch.Generator().manual_seed(7)
    for _ in range(steps):
        yield 0.1 * torch.randn(fleet.flat_KP.shape, generator=generator)


def fleet_after_steps(
    optimizer: str, steps: int, arguments: Mapping[str, Any], lr_K: Tensor = LR_K, model: ModelCard = small.MODEL
) -> Fleet:
    """A fleet of three after steps along `gradients`."""
    fleet = small.fleet([1, 2, 3], model=model)
    optimizer_of_fleet = FleetOptimizer(optimizer, fleet, arguments)
    for step, grad_KP in enumerate(gradients(fleet, steps)):
        fleet.flat_KP.grad = grad_KP
        optimizer_of_fleet.step(step + 1, lr_K, DECAY_K)
    return fleet


MakeOptimizers = Callable[[Mapping[str, Tensor], float, float], list[torch.optim.Optimizer]]


def torch_weights_after_steps(make_optimizers: MakeOptimizers, steps: int, k: int) -> Views:
    """The weights of run k after the same gradients with torch's optimizers, by name, with separate q, k and v."""
    fleet = small.fleet([1, 2, 3])
    weights = {name: torch.nn.Parameter(weight) for name, weight in reference.unstacked(fleet.member(k)).items()}
    optimizers = make_optimizers(weights, float(LR_K[k]), float(DECAY_K[k]))
    for grad_KP in gradients(fleet, steps):
        grads = {parameter: grad_K[k] for parameter, grad_K in views(fleet.layout, grad_KP).items()}
        for name, grad in reference.unstacked(grads).items():
            weights[name].grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    return {name: weight.detach() for name, weight in weights.items()}


@each("model", small.STYLES)
@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_every_trainable_parameter_is_moved_by_exactly_one_rule(optimizer: str, update: str, model: str) -> None:
    layout = trainable(small.STYLES[model], update)
    runs_by_optimizer = spans(route(OPTIMIZERS[optimizer].routing, layout), layout)
    assert set(runs_by_optimizer) <= set(IMPLEMENTATIONS)
    routed = [parameter.name for runs in runs_by_optimizer.values() for run in runs for parameter in run]
    assert sorted(routed) == sorted(layout.parameters)
    order = list(layout.parameters)
    for run in itertools.chain(
        *runs_by_optimizer.values()
    ):  # a block contains only contiguous parameters of its optimizer
        start = order.index(run[0].name)
        assert [parameter.name for parameter in run] == order[start : start + len(run)]


@each("model", small.STYLES)
@each("update", UPDATES)
def test_muon_updates_hidden_matrices_and_adamw_the_rest(update: str, model: str) -> None:
    layout = trainable(small.STYLES[model], update)
    table = route(OPTIMIZERS["muon"].routing, layout)
    assert table == {name: "muon" if p.group == "hidden" else "adamw" for name, p in layout.parameters.items()}


def test_a_parameter_without_a_pattern_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="'embedding'"):
        route((("layers.*", "muon"), ("head", "adamw")), trainable(small.MODEL, "full"))


def test_the_first_pattern_that_matches_decides() -> None:
    table = route((("layers.0.*", "sgd"), ("layers.*", "muon"), ("*", "adamw")), trainable(small.MODEL, "full"))
    assert (table["layers.0.up"], table["layers.1.up"], table["head"]) == ("sgd", "muon", "adamw")


@each("optimizer", OPTIMIZERS)
def test_a_name_cannot_be_registered_twice(optimizer: str) -> None:
    before = dict(OPTIMIZERS), dict(IMPLEMENTATIONS)
    with pytest.raises(ValueError, match=repr(optimizer)):
        register(OPTIMIZERS[optimizer], IMPLEMENTATIONS[optimizer])
    assert before == (OPTIMIZERS, IMPLEMENTATIONS)


def assert_close(fleet: Fleet, make_optimizers: MakeOptimizers, steps: int, rtol: float) -> None:
    """Asserts that weights differ by at most rtol times the largest change of their parameter, plus rounding."""
    for k in range(len(fleet)):
        expected = torch_weights_after_steps(make_optimizers, steps, k)
        start = reference.unstacked(small.fleet([1, 2, 3]).member(k))
        for name, weight in reference.unstacked(fleet.member(k)).items():
            largest_change = (expected[name] - start[name]).abs().max()
            assert (weight - expected[name]).abs().max() <= rtol * largest_change + 1e-7, name


@each("arguments", [{}, {"betas": (0.8, 0.95), "eps": 1e-3}])
def test_adamw_is_torch_s(arguments: dict[str, Any]) -> None:
    def make_optimizers(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(weights.values(), lr=lr, weight_decay=decay, **arguments)]

    assert_close(fleet_after_steps("adamw", 5, arguments), make_optimizers, 5, rtol=1e-4)


@each("arguments", [{}, {"momentum": 0.0}, {"momentum": 0.8, "nesterov": True}])
def test_sgd_is_torch_s(arguments: dict[str, Any]) -> None:
    def make_optimizers(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(weights.values(), lr=lr, weight_decay=decay, **{"momentum": 0.9} | arguments)]

    assert_close(fleet_after_steps("sgd", 5, arguments), make_optimizers, 5, rtol=1e-4)


@each("arguments", [{}, {"scale": "original"}, {"momentum": 0.8, "nesterov": False, "steps": 3}])
def test_muon_in_bfloat16_is_torch_s_within_rounding(arguments: dict[str, Any]) -> None:
    """bfloat16 has 8 bits, 0.4 %, and the order of sums differs by machine."""
    options = {"momentum": 0.95, "nesterov": True} | arguments
    torch_options = {"adjust_lr_fn": options.pop("scale", "match_rms_adamw"), "ns_steps": options.pop("steps", 5)}

    def make_optimizers(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        hidden = [weight for name, weight in weights.items() if name.startswith("layers.")]
        rest = [weight for name, weight in weights.items() if not name.startswith("layers.")]
        return [
            torch.optim.Muon(hidden, lr=lr, weight_decay=decay, **torch_options, **options),
            torch.optim.AdamW(rest, lr=lr, weight_decay=decay),
        ]

    assert_close(fleet_after_steps("muon", 3, {"dtype": "bfloat16"} | arguments), make_optimizers, 3, rtol=0.05)


def test_muon_updates_embeddings_and_vectors_bitwise_as_adamw_at_the_auxiliary_rate() -> None:
    muon_fleet = fleet_after_steps("muon", 3, {"aux_lr_ratio": 0.5}, model=small.GPT2)
    adamw_fleet = fleet_after_steps("adamw", 3, {}, LR_K * 0.5, small.GPT2)
    for k in range(len(muon_fleet)):
        member, adamw_member = muon_fleet.member(k), adamw_fleet.member(k)
        equal = {name for name, weight in member.items() if torch.equal(weight, adamw_member[name])}
        assert equal == {name for name, p in muon_fleet.layout.parameters.items() if p.group != "hidden"}


def test_both_forms_of_adamw_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    by_row, batched = fleet_after_steps("adamw", 8, {}), Mock(side_effect=adamw.batched)
    monkeypatch.setattr(adamw, "by_row", batched)  # the form used on a CPU
    torch.testing.assert_close(fleet_after_steps("adamw", 8, {}).flat_KP, by_row.flat_KP, rtol=1e-5, atol=1e-5)
    assert batched.called


def conditioned(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Random matrices (M, r, c) of random size with singular values between 0.1 and 1 of the size."""
    u_Mrr, _, v_Mrc = torch.linalg.svd(torch.randn(20, *shape, generator=generator), full_matrices=False)
    values_Mr = torch.empty(20, min(shape)).uniform_(0.1, 1, generator=generator)
    return 10 ** torch.empty(20, 1, 1).uniform_(-4, 4, generator=generator) * (u_Mrr * values_Mr[:, None] @ v_Mrc)


@each("shape", [(4, 32), (32, 32), (32, 128), (64, 64), (64, 256)])
@each(("dtype", "slack"), [("float32", 1e-3), ("bfloat16", 2e-2)])
def test_newton_schulz_maps_singular_values_into_a_band(shape: tuple[int, int], dtype: Any, slack: float) -> None:
    """The quintic applied five times maps [0.01, 1] onto [0.6818, 1.1344]. A singular value of 0.1 of the largest is at
    least 0.1 / sqrt(64) = 0.0125 of the Frobenius norm, which the first step divides by."""
    matrix_Mrc = conditioned(shape, torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.newton_schulz(matrix_Mrc, muon.Muon(dtype=dtype)))
    assert values.min() >= 0.6818 - slack
    assert values.max() <= 1.1344 + slack


def test_newton_schulz_keeps_a_zero_matrix_zero() -> None:
    matrix_Mrc = conditioned((32, 128), torch.Generator().manual_seed(0))
    matrix_Mrc[3] = 0
    orthogonalized = muon.newton_schulz(matrix_Mrc, muon.Muon())
    assert orthogonalized.flatten(1).any(1).tolist() == [matrix != 3 for matrix in range(20)]
    assert orthogonalized.isfinite().all()


@each("shape", [(4, 32), (32, 32), (64, 256)])
def test_newton_schulz_of_a_batch_equals_that_of_each_matrix(shape: tuple[int, int]) -> None:
    matrix_Mrc = conditioned(shape, torch.Generator().manual_seed(1))
    separate = torch.stack([reference.newton_schulz(matrix) for matrix in matrix_Mrc])
    torch.testing.assert_close(muon.newton_schulz(matrix_Mrc, muon.Muon()), separate, rtol=0, atol=1e-5)


def test_an_optimizer_reads_and_writes_only_its_blocks() -> None:
    for name, implementation in IMPLEMENTATIONS.items():
        layout = trainable(small.MODEL, "full-hidden")
        value_KP, grad_KP = torch.randn(2, layout.row), torch.randn(2, layout.row)
        parameter = layout.parameters["layers.0.up"]
        columns = slice(parameter.offset, parameter.offset + parameter.size)
        before, arguments = value_KP.clone(), OPTIMIZERS[name].arguments()
        grad_KP[:, : columns.start], grad_KP[:, columns.stop :] = torch.nan, torch.nan
        blocks = [Block(value_KP[:, columns], grad_KP[:, columns], (parameter,))]
        implementation.step(blocks, implementation.start(blocks, arguments), Hyper(1, LR_K[:2], DECAY_K[:2]), arguments)
        changed = value_KP != before
        assert value_KP.isfinite().all(), name
        assert changed[:, columns].any(), name
        changed[:, columns] = False
        assert not changed.any(), name
