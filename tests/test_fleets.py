"""The public Fleet: each of its models is what it would be alone, and the example learns."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import BadInput, Fleet

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "eight_rates.py"


def tokens(step: int) -> torch.Tensor:
    half = torch.randint(16, (8, 3), generator=torch.Generator().manual_seed(step))
    return torch.cat([half, half], dim=1)


def trained(seeds: list[int], lr: Any, update: str = "full", **how: Any) -> tuple[Fleet, torch.Tensor]:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=seeds, update=update)
    fleet.use("muon", lr, **how)
    losses = [fleet.step(tokens(step), factor=1 - step / 20) for step in range(10)]
    return fleet, torch.stack(losses)


@pytest.mark.parametrize("update", ["full", "full-hidden", "lora-4"])
def test_a_model_of_a_fleet_is_what_it_is_alone(update: str) -> None:
    together, losses_TK = trained([0, 1, 0], [1e-2, 1e-3, 3e-3], update, weight_decay=0.1, momentum=0.9)
    for k, (seed, lr) in enumerate([(0, 1e-2), (1, 1e-3), (0, 3e-3)]):
        alone, losses_T1 = trained([seed], lr, update, weight_decay=0.1, momentum=0.9)
        assert torch.equal(losses_TK[:, k], losses_T1[:, 0])
        assert all(torch.equal(value, together.weights(k)[name]) for name, value in alone.weights(0).items())
        assert torch.equal(alone.logits(tokens(0))[0], together.logits(tokens(0))[k])


def test_the_loss_is_the_cross_entropy_of_the_tokens_that_are_learned() -> None:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[3])
    logits_BLV, shown = fleet.logits(tokens(1))[0], tokens(1)
    learned = torch.arange(6).expand(8, 6) >= 3
    fleet.use("sgd", lr=0.0)
    by_hand = torch.nn.functional.cross_entropy(logits_BLV[:, 2:5].reshape(-1, 16), shown[:, 3:].reshape(-1))
    torch.testing.assert_close(fleet.step(shown, learned)[0], by_hand)
    whole = torch.nn.functional.cross_entropy(logits_BLV[:, :5].reshape(-1, 16), shown[:, 1:].reshape(-1))
    torch.testing.assert_close(fleet.step(shown)[0], whole)


def test_each_model_may_have_data_of_its_own() -> None:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[0, 0])
    fleet.use("adamw", lr=0.0)
    apart_K = fleet.step(torch.stack([tokens(1), tokens(2)]))
    assert apart_K.tolist() == [fleet.step(tokens(1))[0].item(), fleet.step(tokens(2))[1].item()]


def test_any_class_of_torch_s_trains_a_fleet() -> None:
    ours, theirs = (Fleet("tiny", vocabulary=16, length=6, seeds=[0, 1]) for _ in range(2))
    ours.use("adamw", lr=1e-3)
    theirs.use(torch.optim.AdamW, lr=1e-3)
    for step in range(20):
        torch.testing.assert_close(ours.step(tokens(step)), theirs.step(tokens(step)), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"model": "tinny"}, "did you mean 'tiny'"),
        ({"seeds": []}, "0 seeds must be"),
        ({"update": "lora"}, "allowed are full, full-hidden and lora-R"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(how: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Fleet(**{"model": "tiny", "vocabulary": 16, "length": 6, "seeds": [0]} | how)


@pytest.mark.parametrize(
    ("optimizer", "how", "said"),
    [
        ("muonn", {"lr": 1.0}, "did you mean 'muon'"),
        ("muon", {"lr": [1.0, 2.0]}, "a number, or one for each of 3 models"),
        ("muon", {"lr": -1.0}, "a number, or one for each of 3 models"),
        ("muon", {"lr": 1.0, "momentum": 2}, "Fleet.use: momentum = 2: must be less than 1"),
        ("muon", {"lr": 1.0, "beta": 2}, "Fleet.use: beta"),
    ],
)
def test_what_cannot_train_is_refused_in_a_sentence(optimizer: str, how: dict[str, Any], said: str) -> None:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[0, 1, 2])
    with pytest.raises(BadInput, match=said):
        fleet.use(optimizer, **how)
    with pytest.raises(BadInput, match=r"with Fleet\.use"):
        fleet.step(tokens(0))


def test_tokens_of_other_shapes_are_refused() -> None:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[0, 1, 2])
    for shape in ((6,), (2, 8, 6), (8, 7)):
        with pytest.raises(BadInput, match=r"\(B, L\) or \(3, B, L\), L at most 6"):
            fleet.logits(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.full((8, 6), 16), "tokens 16 to 16 must be from 0 to 15"),
        (torch.full((8, 6), -1), "must be from 0 to 15"),
        (torch.rand(8, 6), "must be some whole numbers"),
        (torch.zeros(0, 6, dtype=torch.long), "must be some whole numbers"),
    ],
)
def test_tokens_that_are_none_are_refused(given: torch.Tensor, said: str) -> None:
    """A model would read its neighbour's embedding."""
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[0, 1])
    with pytest.raises(BadInput, match=said):
        fleet.logits(given)


def test_answers_have_the_shape_of_their_tokens() -> None:
    fleet = Fleet("tiny", vocabulary=16, length=6, seeds=[0, 1])
    fleet.use("sgd", lr=1e-2)
    with pytest.raises(BadInput, match=r"answers of shape \(2, 8, 5\) must have that of the tokens, \(2, 8, 6\)"):
        fleet.step(tokens(0), torch.ones(8, 5, dtype=torch.bool))


def test_the_example_is_ten_lines_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    text = EXAMPLE.read_text()
    assert len([line for line in text.splitlines()[1:] if line.strip()]) <= 10
    runpy.run_path(str(EXAMPLE))
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 8
    assert min(losses) < 0.1 < max(losses)
