"""Interventions on updates: what they change, and that nothing else changes. Shapes: K runs, r rows, c columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from synthbench.trainer.fleet import views
from synthbench.trainer.low_rank import merged
from synthbench.trainer.optimizers import adamw_flat, muon_product
from synthbench.trainer.schedule import Schedule
from synthbench.verification import reference
from tests.each import each
from tests.trainer import small
from tests.trainer.small import LENGTH, Run

NEW = ("adamw-flat", "muon-sign", "muon-product")
PAIRS = {"adamw-flat": "adamw", "muon-sign": "muon"}
STEPS = 20


def runs() -> list[Run]:
    return [Run(100 + k, 2e-3 * (k + 1), 0.1 * k) for k in range(3)]


def after_one(optimizer: str, update: str = "full") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of three runs before and after a step without decay."""
    of = [run._replace(weight_decay=0.0) for run in runs()]
    before = small.fleet([run.seed for run in of], update).weights()
    after = small.trained(optimizer, update, of, 1).fleet.weights()
    return {n: v.detach() for n, v in before.items()}, {n: v.detach() for n, v in after.items()}


@each("update", ["full", "full-hidden", "lora-4"])
@each("optimizer", ["adamw-flat", "muon-sign"])
def test_every_member_has_the_losses_of_its_plain_loop(optimizer: str, update: str) -> None:
    losses_TK = small.trained(optimizer, update, runs(), STEPS).curve_TK
    seeds = [run.seed for run in runs()]
    untrained, data, schedule = small.fleet(seeds, update), small.data(seeds, STEPS), Schedule(STEPS, "cosine", 0.1)
    for k, run in enumerate(runs()):
        model = reference.load(small.MODEL, untrained.member(k), LENGTH - 1)
        if update == "lora-4":
            model = reference.adapt(model, untrained.saved(k))
        elif update == "full-hidden":
            hidden = set(map(id, model.hidden()))
            for parameter in model.parameters():
                parameter.requires_grad_(id(parameter) in hidden)
        moving = reference.optimizers(optimizer, model, weight_decay=run.weight_decay)
        plain_T = reference.train(model, moving, data, k, lambda step, lr=run.lr: lr * schedule.factor(step))
        rtol = 1e-3 if optimizer == "muon-sign" else 1e-4  # rounding decides the sign of what is almost zero
        np.testing.assert_allclose(losses_TK[:, k], plain_T, rtol=rtol, atol=0)


@each("update", ["full", "lora-4"])
@each("optimizer", NEW)
def test_a_member_is_bitwise_the_same_in_any_fleet(optimizer: str, update: str) -> None:
    together = small.trained(optimizer, update, runs(), 5)
    for k, run in enumerate(runs()):
        alone = small.trained(optimizer, update, [run], 5)
        assert torch.equal(together.fleet.flat_KP[k], alone.fleet.flat_KP[0])


@each(("optimizer", "of"), PAIRS.items())
def test_a_first_step_has_the_norm_of_its_optimizer_s_and_another_structure(optimizer: str, of: str) -> None:
    before, intervened = after_one(optimizer)
    _, plain = after_one(of)
    for name, value in before.items():
        change, usual = intervened[name] - value, plain[name] - value
        if not name.startswith("layers.") or "norm" in name:
            torch.testing.assert_close(change, usual, rtol=1e-4, atol=1e-7)
            continue
        norms = [torch.linalg.matrix_norm(of_name) for of_name in (change, usual)]
        torch.testing.assert_close(*norms, rtol=1e-2, atol=0)
        if optimizer == "adamw-flat":
            ranks = [torch.linalg.matrix_norm(of_name) ** 2 / torch.linalg.svdvals(of_name)[..., 0] ** 2
                     for of_name in (change, usual)]  # fmt: skip
            assert (ranks[0] > 1.2 * ranks[1]).all()  # stable ranks
        else:
            size = change.abs().flatten(-2)
            torch.testing.assert_close(size.median(-1).values, size.amax(-1), rtol=1e-2, atol=0)


def test_flattening_keeps_norms_and_turns_no_zero_into_something() -> None:
    matrix = torch.randn(2, 3, 12, 5, generator=torch.Generator().manual_seed(0))
    matrix[1, 2] = 0
    flat = adamw_flat.flat(matrix, 5)
    torch.testing.assert_close(torch.linalg.matrix_norm(flat), torch.linalg.matrix_norm(matrix))
    left, _, right = torch.linalg.svd(matrix[0, 0], full_matrices=False)
    cosine = (flat[0, 0] * (left @ right)).sum() / (flat[0, 0].norm() * (left @ right).norm())
    assert cosine > 0.95


def test_a_step_of_b_moves_the_product_by_equal_singular_values() -> None:
    """On a product of A alone (B is 0 at the start), after one step."""
    optimizer = small.trained("muon-product", "lora-4", [Run(1, 1e-3, 0.0)], 1)
    start = small.fleet([1], "lora-4")
    old, new = (views(of.trainable, of.flat_KP.detach()) for of in (start, optimizer.fleet))
    name = "layers.0.up"
    product = (new[f"{name}.B"] - old[f"{name}.B"]) @ old[f"{name}.A"]
    singular = torch.linalg.svdvals(product[0])[:4]
    assert (singular.max() / singular.min()) < 2.5
    plain = small.trained("muon", "lora-4", [Run(1, 1e-3, 0.0)], 1)
    factors = views(plain.fleet.trainable, plain.fleet.flat_KP.detach())
    usual = torch.linalg.svdvals((factors[f"{name}.B"] @ old[f"{name}.A"])[0])[:4]
    assert usual.max() / usual.min() > singular.max() / singular.min() - 1e-3
    with torch.no_grad():
        base = views(start.layout, start.base_KP)
        torch.testing.assert_close(merged(base, old)[name], base[name])


def test_the_inverse_root_is_one_and_stays_finite_without_anything_to_invert() -> None:
    matrix = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    gram, nothing = (matrix @ matrix.mT)[None, None], torch.zeros(1, 1, 1, 1)
    root = muon_product.inverse_root(gram, nothing)
    torch.testing.assert_close(root @ gram @ root, torch.eye(4)[None, None], rtol=1e-2, atol=1e-2)
    assert muon_product.inverse_root(0 * gram, nothing + 1).allclose(torch.eye(4)[None, None])
    muon_product.inverse_root(gram * torch.nan, nothing + 1)  # raises nothing


@each("optimizer", NEW)
def test_a_diverged_member_does_not_change_the_others(optimizer: str) -> None:
    update = "lora-4" if optimizer == "muon-product" else "full"
    finite = small.trained(optimizer, update, runs(), 3)
    spoiled = [runs()[0], runs()[1]._replace(lr=float("inf")), runs()[2]]
    with_diverged = small.trained(optimizer, update, spoiled, 3)
    for k in (0, 2):
        assert torch.equal(with_diverged.fleet.flat_KP[k], finite.fleet.flat_KP[k])


def test_without_factors_the_product_s_geometry_is_muon_s() -> None:
    first, second = (small.trained(name, "full", runs(), 5) for name in ("muon-product", "muon"))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(first.fleet.flat_KP, small.fleet([100, 101, 102]).flat_KP)
    torch.testing.assert_close(first.fleet.flat_KP, second.fleet.flat_KP)
