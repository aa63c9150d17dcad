"""Rules: who moves which parameter, and how. What holds for every optimizer is asked of every registered one.

Shapes: K runs, P floats in a run's row, T steps, M matrices of r rows and c columns.
"""

from __future__ import annotations

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


def stepped(
    optimizer: str, steps: int, arguments: Mapping[str, Any], lr_K: Tensor = LR_K, model: ModelCard = small.MODEL
) -> Fleet:
    """A fleet of three after steps along given gradients."""
    fleet = small.fleet([1, 2, 3], model=model)
    moving = FleetOptimizer(optimizer, fleet, arguments)
    for step, grad_KP in enumerate(gradients(fleet, steps)):
        fleet.flat_KP.grad = grad_KP
        moving.step(step + 1, lr_K, DECAY_K)
    return fleet


Alone = Callable[[Mapping[str, Tensor], float, float], list[torch.optim.Optimizer]]


def stepped_alone(alone: Alone, steps: int, k: int) -> Views:
    """Run k of the same fleet after the same gradients under torch's optimizers, by name, q, k and v apart."""
    fleet = small.fleet([1, 2, 3])
    weights = {name: torch.nn.Parameter(w) for name, w in reference.unstacked(fleet.member(k)).items()}
    moving = alone(weights, float(LR_K[k]), float(DECAY_K[k]))
    for grad_KP in gradients(fleet, steps):
        for name, grad in reference.unstacked({n: g[k] for n, g in views(fleet.layout, grad_KP).items()}).items():
            weights[name].grad = grad.clone()
        for optimizer in moving:
            optimizer.step()
    return {name: weight.detach() for name, weight in weights.items()}


@each("model", small.STYLES)
@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_every_trainable_parameter_is_moved_by_exactly_one_rule(optimizer: str, update: str, model: str) -> None:
    layout = trainable(small.STYLES[model], update)
    found = spans(route(OPTIMIZERS[optimizer].routing, layout), layout)
    assert set(found) <= set(IMPLEMENTATIONS)
    claimed = [parameter.name for runs in found.values() for run in runs for parameter in run]
    assert sorted(claimed) == sorted(layout.parameters)
    order = list(layout.parameters)
    for run in (run for runs in found.values() for run in runs):  # side by side, so that a block holds nobody else's
        start = order.index(run[0].name)
        assert [parameter.name for parameter in run] == order[start : start + len(run)]


@each("model", small.STYLES)
@each("update", UPDATES)
def test_muon_moves_hidden_matrices_and_adamw_the_rest(update: str, model: str) -> None:
    layout = trainable(small.STYLES[model], update)
    table = route(OPTIMIZERS["muon"].routing, layout)
    assert table == {name: "muon" if p.group == "hidden" else "adamw" for name, p in layout.parameters.items()}


def test_a_parameter_that_no_pattern_claims_is_an_error_that_names_it() -> None:
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


def close(fleet: Fleet, alone: Alone, steps: int, rtol: float) -> None:
    """Asserts that no weight differs by more than rtol of its parameter's largest move, and one rounding."""
    for k in range(len(fleet)):
        theirs, start = stepped_alone(alone, steps, k), reference.unstacked(small.fleet([1, 2, 3]).member(k))
        for name, weight in reference.unstacked(fleet.member(k)).items():
            move = (theirs[name] - start[name]).abs().max()
            assert (weight - theirs[name]).abs().max() <= rtol * move + 1e-7, name


@each("arguments", [{}, {"betas": (0.8, 0.95), "eps": 1e-3}])
def test_adamw_is_torchs(arguments: dict[str, Any]) -> None:
    def alone(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(weights.values(), lr=lr, weight_decay=decay, **arguments)]

    close(stepped("adamw", 5, arguments), alone, 5, rtol=1e-4)


@each("arguments", [{}, {"momentum": 0.0}, {"momentum": 0.8, "nesterov": True}])
def test_sgd_is_torchs(arguments: dict[str, Any]) -> None:
    def alone(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(weights.values(), lr=lr, weight_decay=decay, **{"momentum": 0.9} | arguments)]

    close(stepped("sgd", 5, arguments), alone, 5, rtol=1e-4)


@each("arguments", [{}, {"scale": "original"}, {"momentum": 0.8, "nesterov": False, "steps": 3}])
def test_muon_in_bfloat16_is_torchs_within_what_rounding_makes_of_a_move(arguments: dict[str, Any]) -> None:
    """bfloat16 keeps 8 bits, 0.4 %, and products may be summed in another order, by machine."""
    theirs = {"momentum": 0.95, "nesterov": True} | arguments
    given = {"adjust_lr_fn": theirs.pop("scale", "match_rms_adamw"), "ns_steps": theirs.pop("steps", 5)}

    def alone(weights: Mapping[str, Tensor], lr: float, decay: float) -> list[torch.optim.Optimizer]:
        hidden = [weight for name, weight in weights.items() if name.startswith("layers.")]
        rest = [weight for name, weight in weights.items() if not name.startswith("layers.")]
        return [
            torch.optim.Muon(hidden, lr=lr, weight_decay=decay, **given, **theirs),
            torch.optim.AdamW(rest, lr=lr, weight_decay=decay),
        ]

    close(stepped("muon", 3, {"dtype": "bfloat16"} | arguments), alone, 3, rtol=0.05)


def test_muon_moves_embeddings_and_vectors_bitwise_as_adamw_at_the_rate_times_the_ratio() -> None:
    ours = stepped("muon", 3, {"aux_lr_ratio": 0.5}, model=small.GPT2)
    theirs = stepped("adamw", 3, {}, LR_K * 0.5, small.GPT2)
    for k in range(len(ours)):
        member, other = ours.member(k), theirs.member(k)
        same = {name for name, weight in member.items() if torch.equal(weight, other[name])}
        assert same == {name for name, p in ours.layout.parameters.items() if p.group != "hidden"}


def test_adamws_two_forms_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    by_row, batched = stepped("adamw", 8, {}), Mock(side_effect=adamw.batched)
    monkeypatch.setattr(adamw, "by_row", batched)  # what the rule takes on a CPU
    torch.testing.assert_close(stepped("adamw", 8, {}).flat_KP, by_row.flat_KP, rtol=1e-5, atol=1e-5)
    assert batched.called


def conditioned(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Random matrices (M, r, c) of random size with singular values between 0.1 and 1 of the size."""
    u_Mrr, _, v_Mrc = torch.linalg.svd(torch.randn(20, *shape, generator=generator), full_matrices=False)
    values_Mr = torch.empty(20, min(shape)).uniform_(0.1, 1, generator=generator)
    return 10 ** torch.empty(20, 1, 1).uniform_(-4, 4, generator=generator) * (u_Mrr * values_Mr[:, None] @ v_Mrc)


@each("shape", [(4, 32), (32, 32), (32, 128), (64, 64), (64, 256)])
@each(("dtype", "slack"), [("float32", 1e-3), ("bfloat16", 2e-2)])
def test_newton_schulz_brings_singular_values_into_a_band(shape: tuple[int, int], dtype: Any, slack: float) -> None:
    """The quintic applied five times maps [0.01, 1] onto [0.6818, 1.1344]. A singular value of 0.1 of the largest is at
    least 0.1 / sqrt(64) = 0.0125 of the Frobenius norm, which the first step divides by."""
    matrix_Mrc = conditioned(shape, torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.newton_schulz(matrix_Mrc, muon.Muon(dtype=dtype)))
    assert values.min() >= 0.6818 - slack
    assert values.max() <= 1.1344 + slack


def test_newton_schulz_leaves_a_zero_matrix_zero_whatever_stands_beside_it() -> None:
    matrix_Mrc = conditioned((32, 128), torch.Generator().manual_seed(0))
    matrix_Mrc[3] = 0
    moved = muon.newton_schulz(matrix_Mrc, muon.Muon())
    assert moved.flatten(1).any(1).tolist() == [matrix != 3 for matrix in range(20)]
    assert moved.isfinite().all()


@each("shape", [(4, 32), (32, 32), (64, 256)])
def test_newton_schulz_of_a_batch_is_that_of_each_matrix(shape: tuple[int, int]) -> None:
    matrix_Mrc = conditioned(shape, torch.Generator().manual_seed(1))
    one_by_one = torch.stack([reference.newton_schulz(matrix) for matrix in matrix_Mrc])
    torch.testing.assert_close(muon.newton_schulz(matrix_Mrc, muon.Muon()), one_by_one, rtol=0, atol=1e-5)


def test_a_rule_reads_and_writes_nothing_outside_its_blocks() -> None:
    for name, rule in IMPLEMENTATIONS.items():
        layout = trainable(small.MODEL, "full-hidden")
        value_KP, grad_KP = torch.randn(2, layout.row), torch.randn(2, layout.row)
        parameter = layout.parameters["layers.0.up"]
        reach = slice(parameter.offset, parameter.offset + parameter.size)
        before, arguments = value_KP.clone(), OPTIMIZERS[name].arguments()
        grad_KP[:, : reach.start], grad_KP[:, reach.stop :] = torch.nan, torch.nan
        blocks = [Block(value_KP[:, reach], grad_KP[:, reach], (parameter,))]
        rule.step(blocks, rule.start(blocks, arguments), Hyper(1, LR_K[:2], DECAY_K[:2]), arguments)
        changed = value_KP != before
        assert value_KP.isfinite().all(), name
        assert changed[:, reach].any(), name
        changed[:, reach] = False
        assert not changed.any(), name
