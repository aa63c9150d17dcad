"""The trainer's contract: a member of a fleet is the run that a plain loop would have made of it.

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

TOLERANCE = 1e-5  # relative, of the loss at every step
STEPS = 50
OPTIMIZERS, UPDATES = ("adamw", "muon", "sgd"), ("full", "lora-4")
RATES = {
    ("adamw", "full"): 1e-3, ("adamw", "lora-4"): 4e-3,
    ("muon", "full"): 1e-3, ("muon", "lora-4"): 8e-3,
    ("sgd", "full"): 1e-2, ("sgd", "lora-4"): 4e-2,
}  # fmt: skip


def family(optimizer: str, update: str, count: int) -> list[Run]:
    """Runs that differ in everything that may differ within a fleet."""
    return [Run(100 + k, RATES[optimizer, update] * (k % 3 + 1), 0.1 * (k % 4)) for k in range(count)]


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_member_loses_what_its_plain_loop_loses_at_every_step(optimizer: str, update: str) -> None:
    runs = family(optimizer, update, 3)
    ours_TK = small.trained(optimizer, update, runs, STEPS).curve_TK
    untrained, data = small.fleet([run.seed for run in runs], update), small.data([run.seed for run in runs], STEPS)
    for k, run in enumerate(runs):
        model = reference.load(small.MODEL, untrained.member(k), LENGTH - 1)
        if update != "full":
            model = reference.adapt(model, untrained.saved(k))
        moving, factor = reference.optimizers(optimizer, model), Schedule(STEPS, "cosine", 0.1).factor
        rate = lambda step, lr=run.lr, factor=factor: lr * factor(step)
        theirs_T = reference.train(model, moving, data, k, rate, run.weight_decay)
        assert theirs_T[-1] < 0.9 * theirs_T[0]
        np.testing.assert_allclose(ours_TK[:, k], theirs_T, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_member_is_bitwise_the_same_in_fleets_of_1_3_and_16_at_any_place(optimizer: str, update: str) -> None:
    watched, *strangers = family(optimizer, update, 16)
    alone = small.trained(optimizer, update, [watched], 10)
    for size in (3, 16):
        for place in (0, size // 2, size - 1):
            runs = [*strangers[:place], watched, *strangers[place : size - 1]]
            together = small.trained(optimizer, update, runs, 10)
            assert torch.equal(together.fleet.flat_KP[place], alone.fleet.flat_KP[0])
            assert np.array_equal(together.curve_TK[:, place], alone.curve_TK[:, 0])


@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_a_member_of_the_size_that_runners_use_is_bitwise_the_same_in_any_fleet(optimizer: str, update: str) -> None:
    runs, model = family(optimizer, update, 3), MODELS["tiny"]
    together = small.trained(optimizer, update, runs, 2, model, batch=64)
    for k, run in enumerate(runs):
        alone = small.trained(optimizer, update, [run], 2, model, batch=64)
        assert torch.equal(together.fleet.flat_KP[k], alone.fleet.flat_KP[0])
        assert np.array_equal(together.curve_TK[:, k], alone.curve_TK[:, 0])


@each("update", UPDATES)
@each("optimizer", OPTIMIZERS)
def test_a_member_that_diverges_keeps_its_nan_to_itself(optimizer: str, update: str) -> None:
    runs = family(optimizer, update, 3)
    sound = small.trained(optimizer, update, runs, 5)
    broken = small.trained(optimizer, update, [runs[0], runs[1]._replace(lr=float("inf")), runs[2]], 5)
    assert not broken.fleet.flat_KP[1].isfinite().all()
    assert not np.isfinite(broken.curve_TK[-1, 1])
    for k in (0, 2):
        assert torch.equal(broken.fleet.flat_KP[k], sound.fleet.flat_KP[k])
        assert np.array_equal(broken.curve_TK[:, k], sound.curve_TK[:, k])


@each("model", [small.MODEL, small.GPT2, small.SWIGLU])
def test_every_style_of_model_has_the_plain_models_logits_losses_and_gradients(model: ModelCard) -> None:
    fleet, data = small.fleet([1, 2, 3], model=model), small.data([1, 2, 3], 1)
    with torch.no_grad():  # gains and biases as well as matrices away from where they start
        fleet.flat_KP += 0.1 * torch.randn(fleet.flat_KP.shape, generator=torch.Generator().manual_seed(0))
    tokens_KBL, answer_KBL = torch.from_numpy(data.tokens_KNL).long(), torch.from_numpy(data.answer_KNL)
    loss_K = losses(fleet, tokens_KBL, answer_KBL, first=4)
    loss_K.sum().backward()
    logits_KBLV = fleet.logits(tokens_KBL[..., :-1])
    for first in range(1, LENGTH - 1):  # logits from a position on are the tail of all
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
        ours = reference.unstacked({name: grad[k] for name, grad in views(fleet.layout, fleet.grad_KP).items()})
        theirs = {name: p.grad for name, p in plain.named_parameters()}
        assert {reference.parameter_name(name) for name in ours} == set(theirs)
        for name, grad in ours.items():
            torch.testing.assert_close(grad, theirs[reference.parameter_name(name)], rtol=1e-4, atol=1e-6)
