"""A member of a fleet equals the same run in a plain loop, and is bitwise the same in any fleet.

Shapes: K runs, T steps, B examples, L tokens, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthbench.cards import MODELS, ModelCard
from synthbench.trainer.fleet import views
from synthbench.trainer.schedule import Schedule
from synthbench.trainer.step import losses
from synthbench.verification import reference
from tests.each import each
from tests.trainer import small
from tests.trainer.small import LENGTH, Run

TOLERANCE = 1e-5  # relative, for the loss at every step
STEPS = 50
OPTIMIZERS, UPDATES = ("adamw", "muon", "sgd"), ("full", "lora-4")
RATES = {
    ("adamw", "full"): 1e-3, ("adamw", "lora-4"): 4e-3,
    ("muon", "full"): 1e-3, ("muon", "lora-4"): 8e-3,
    ("sgd", "full"): 1e-2, ("sgd", "lora-4"): 4e-2,
}  # fmt: skip


def runs_of(optimizer: str, update: str, count: int) -> list[Run]:
    """Runs that differ in seed, learning rate and weight decay."""
    return [Run(100 + k, RATES[optimizer, update] * (k % 3 + 1), 0.1 * (k % 4)) for k in range(count)]


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_member_has_the_losses_of_its_plain_loop_at_every_step(optimizer: str, update: str) -> None:
    runs = runs_of(optimizer, update, 3)
    losses_TK = small.trained(optimizer, update, runs, STEPS).curve_TK
    untrained, data = small.fleet([run.seed for run in runs], update), small.data([run.seed for run in runs], STEPS)
    schedule = Schedule(STEPS, "cosine", 0.1)
    for k, run in enumerate(runs):
        model = reference.load(small.MODEL, untrained.member(k), LENGTH - 1)
        if update != "full":
            model = reference.adapt(model, untrained.saved(k))
        optimizers = reference.optimizers(optimizer, model, weight_decay=run.weight_decay)
        rate = lambda step, lr=run.lr: lr * schedule.factor(step)
        reference_losses_T = reference.train(model, optimizers, data, k, rate)
        assert reference_losses_T[-1] < 0.9 * reference_losses_T[0]
        np.testing.assert_allclose(losses_TK[:, k], reference_losses_T, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_member_is_bitwise_the_same_in_fleets_of_1_3_and_16_at_any_index(optimizer: str, update: str) -> None:
    member, *others = runs_of(optimizer, update, 16)
    alone = small.trained(optimizer, update, [member], 10)
    for size in (3, 16):
        for index in (0, size // 2, size - 1):
            runs = [*others[:index], member, *others[index : size - 1]]
            together = small.trained(optimizer, update, runs, 10)
            assert torch.equal(together.fleet.flat_KP[index], alone.fleet.flat_KP[0])
            assert np.array_equal(together.curve_TK[:, index], alone.curve_TK[:, 0])


@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_a_member_of_a_runner_s_size_is_bitwise_the_same_in_any_fleet(optimizer: str, update: str) -> None:
    runs, model = runs_of(optimizer, update, 3), MODELS["tiny"]
    together = small.trained(optimizer, update, runs, 2, model, batch=64)
    for k, run in enumerate(runs):
        alone = small.trained(optimizer, update, [run], 2, model, batch=64)
        assert torch.equal(together.fleet.flat_KP[k], alone.fleet.flat_KP[0])
        assert np.array_equal(together.curve_TK[:, k], alone.curve_TK[:, 0])


@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_a_diverged_member_does_not_change_the_others(optimizer: str, update: str) -> None:
    runs = runs_of(optimizer, update, 3)
    finite = small.trained(optimizer, update, runs, 5)
    with_diverged = small.trained(optimizer, update, [runs[0], runs[1]._replace(lr=float("inf")), runs[2]], 5)
    assert not with_diverged.fleet.flat_KP[1].isfinite().all()
    assert not np.isfinite(with_diverged.curve_TK[-1, 1])
    for k in (0, 2):
        assert torch.equal(with_diverged.fleet.flat_KP[k], finite.fleet.flat_KP[k])
        assert np.array_equal(with_diverged.curve_TK[:, k], finite.curve_TK[:, k])


@each("model", [small.MODEL, small.GPT2, small.SWIGLU])
def test_every_style_of_model_has_the_logits_losses_and_gradients_of_the_plain_model(model: ModelCard) -> None:
    fleet, data = small.fleet([1, 2, 3], model=model), small.data([1, 2, 3], 1)
    with torch.no_grad():  # changes gains and biases, too
        fleet.flat_KP += 0.1 * torch.randn(fleet.flat_KP.shape, generator=torch.Generator().manual_seed(0))
    tokens_KBL, answer_KBL = torch.from_numpy(data.tokens_KNL).long(), torch.from_numpy(data.answer_KNL)
    loss_K = losses(fleet, tokens_KBL, answer_KBL, first=4)
    loss_K.sum().backward()
    logits_KBLV = fleet.logits(tokens_KBL[..., :-1])
    for first in range(1, LENGTH - 1):  # logits from a position on are a slice of all logits
        tail_KBLV = fleet.logits(tokens_KBL[..., :-1], first)
        torch.testing.assert_close(tail_KBLV, logits_KBLV[:, :, first:], rtol=1e-5, atol=1e-6)
    for k in range(len(fleet)):
        plain = reference.load(model, fleet.member(k), LENGTH - 1)
        logits_BLV = plain(tokens_KBL[k, :, :-1])
        torch.testing.assert_close(logits_KBLV[k], logits_BLV, rtol=1e-5, atol=1e-5)
        logp_BLV = logits_BLV.log_softmax(-1)
        nll_BL = -logp_BLV.gather(-1, tokens_KBL[k, :, 1:, None]).squeeze(-1)
        loss = nll_BL[answer_KBL[k, :, 1:]].mean()
        torch.testing.assert_close(loss_K[k], loss, rtol=1e-5, atol=0)
        loss.backward()
        gradients = reference.unstacked({name: grad[k] for name, grad in views(fleet.layout, fleet.grad_KP).items()})
        reference_gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
        assert {reference.parameter_name(name) for name in gradients} == set(reference_gradients)
        for name, grad in gradients.items():
            torch.testing.assert_close(grad, reference_gradients[reference.parameter_name(name)], rtol=1e-4, atol=1e-6)
