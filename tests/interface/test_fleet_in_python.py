"""The public Fleet: each of its models equals the model trained alone, and the example learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import BadInput, Fleet

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "eight_rates.py"


def tokens(step: int) -> torch.Tensor:
    half = torch.randint(16, (8, 3), generator=torch.Generator().manual_seed(step))
    return torch.cat([half, half], dim=1)


def fleet_of(seeds: list[int], **options: Any) -> Fleet:
    return Fleet(**{"model": "tiny", "vocabulary": 16, "length": 6, "seeds": seeds} | options)


def trained(seeds: list[int], lr: Any, update: str = "full", **options: Any) -> tuple[Fleet, torch.Tensor]:
    fleet = fleet_of(seeds, update=update)
    fleet.set_optimizer("muon", lr=lr, **options)
    losses = [fleet.step(tokens(step), factor=1 - step / 20) for step in range(10)]
    return fleet, torch.stack(losses)


@pytest.mark.parametrize("update", ["full", "full-hidden", "lora-4"])
def test_a_model_of_a_fleet_equals_the_model_trained_alone(update: str) -> None:
    together, losses_TK = trained([0, 1, 0], [1e-2, 1e-3, 3e-3], update, weight_decay=0.1, momentum=0.9)
    for k, (seed, lr) in enumerate([(0, 1e-2), (1, 1e-3), (0, 3e-3)]):
        alone, losses_T1 = trained([seed], lr, update, weight_decay=0.1, momentum=0.9)
        assert torch.equal(losses_TK[:, k], losses_T1[:, 0])
        assert all(torch.equal(value, together.state_dict(k)[name]) for name, value in alone.state_dict(0).items())
        assert torch.equal(alone.logits(tokens(0))[0], together.logits(tokens(0))[k])


@pytest.mark.parametrize("update", ["full", "full-hidden", "lora-4"])
def test_loaded_weights_give_the_same_logits_and_later_steps(update: str) -> None:
    """For lora-4 both models have the same seed, because the seed initializes the adapters."""
    fleet, _ = trained([0, 1, 0 if update == "lora-4" else 2], [1e-2, 3e-3, 1e-3], update)
    if update == "full-hidden":  # change the embeddings, which training leaves unchanged
        fleet.load_state_dict(0, {name: 1.01 * value for name, value in fleet.state_dict(0).items()})
    before = fleet.logits(tokens(0))
    assert not torch.equal(before[0], before[2])
    state = fleet.state_dict(0)
    fleet.load_state_dict(2, state)
    after = fleet.logits(tokens(0))
    assert torch.equal(after[2], before[0])
    assert torch.equal(after[:2], before[:2])
    assert all(torch.equal(value, state[name]) for name, value in fleet.state_dict(2).items())
    fleet.load_state_dict(0, state)  # for lora-4 this merges the adapters of model 0
    fleet.set_optimizer("muon", lr=1e-3)
    for step in range(4):
        losses_K = fleet.step(tokens(step))
        assert losses_K[0] == losses_K[2]
    assert all(torch.equal(value, fleet.state_dict(2)[name]) for name, value in fleet.state_dict(0).items())
    assert not torch.equal(fleet.state_dict(0)["layers.0.up"], state["layers.0.up"])


def test_a_state_dict_is_a_copy_and_loading_keeps_the_optimizers_state() -> None:
    fleet, _ = trained([0], 1e-2)
    state = fleet.state_dict(0)
    fleet.state_dict(0)["embedding"].zero_()
    fleet.load_state_dict(0, state)
    same, _ = trained([0], 1e-2)
    assert torch.equal(fleet.step(tokens(9)), same.step(tokens(9)))
    assert torch.equal(fleet.step(tokens(10)), same.step(tokens(10)))


def test_weights_of_other_names_or_shapes_are_refused_and_named() -> None:
    fleet = fleet_of([0, 1])
    state = fleet.state_dict(0)
    embedding = state.pop("embedding")
    wrong = {
        "missing keys: embedding; unexpected keys: extra": state | {"extra": embedding},
        r"embedding has shape \(16, 3\); it must be \(16, 64\)": state | {"embedding": embedding[:, :3]},
    }
    for match, weights in wrong.items():
        with pytest.raises(BadInput, match=match):
            fleet.load_state_dict(1, weights)
    for method in (fleet.state_dict, lambda k: fleet.load_state_dict(k, state)):
        with pytest.raises(BadInput, match="k = 2 must be from 0 to 1"):
            method(2)


def test_the_loss_is_the_cross_entropy_of_the_learned_tokens() -> None:
    fleet = fleet_of([3])
    logits_BLV, batch_BL = fleet.logits(tokens(1))[0], tokens(1)
    learned = torch.arange(6).expand(8, 6) >= 3
    fleet.set_optimizer("sgd", lr=0.0)
    learned_positions = torch.nn.functional.cross_entropy(
        logits_BLV[:, 2:5].reshape(-1, 16), batch_BL[:, 3:].reshape(-1)
    )
    torch.testing.assert_close(fleet.step(batch_BL, learned)[0], learned_positions)
    all_positions = torch.nn.functional.cross_entropy(logits_BLV[:, :5].reshape(-1, 16), batch_BL[:, 1:].reshape(-1))
    torch.testing.assert_close(fleet.step(batch_BL)[0], all_positions)


def test_each_model_may_have_its_own_data() -> None:
    fleet = fleet_of([0, 0])
    fleet.set_optimizer("adamw", lr=0.0)
    apart_K = fleet.step(torch.stack([tokens(1), tokens(2)]))
    assert apart_K.tolist() == [fleet.step(tokens(1))[0].item(), fleet.step(tokens(2))[1].item()]


def test_a_torch_optimizer_class_trains_a_fleet() -> None:
    ours, theirs = (fleet_of([0, 1]) for _ in range(2))
    ours.set_optimizer("adamw", lr=1e-3)
    theirs.set_optimizer(torch.optim.AdamW, lr=1e-3)
    for step in range(8):
        torch.testing.assert_close(ours.step(tokens(step)), theirs.step(tokens(step)), rtol=1e-5, atol=0)


def test_invalid_options_of_a_fleet_are_refused_and_named() -> None:
    for key, value, expected in (("model", "tinny", "'tiny'"), ("seeds", [], "0"), ("update", "lora", "lora-R")):
        with pytest.raises(BadInput, match=expected):
            fleet_of(**{"seeds": [0], key: value})


@pytest.mark.parametrize(
    ("optimizer", "options", "expected"),
    [
        ("muonn", {"lr": 1.0}, "'muon'"),
        ("muon", {"lr": [1.0, 2.0]}, "lr.* 3 models"),
        ("muon", {"lr": -1.0}, "lr"),
        ("muon", {"lr": 1.0, "momentum": 2}, "momentum = 2"),
        ("muon", {"lr": 1.0, "beta": 2}, "beta"),
    ],
)
def test_an_invalid_optimizer_is_refused_and_named(optimizer: str, options: dict[str, Any], expected: str) -> None:
    fleet = fleet_of([0, 1, 2])
    with pytest.raises(BadInput, match=expected):
        fleet.set_optimizer(optimizer, **options)
    with pytest.raises(BadInput, match=r"Fleet\.set_optimizer"):
        fleet.step(tokens(0))


def test_invalid_tokens_are_refused() -> None:
    """Of another shape, or with tokens that would read the embedding of another model."""
    fleet = fleet_of([0, 1, 2])
    cases = [(torch.zeros(shape, dtype=torch.long), r"\(3, B, L\)") for shape in ((6,), (2, 8, 6), (8, 7))]
    cases += [(torch.full((8, 6), value), f"{value}.* 0 to 15") for value in (16, -1)]
    cases += [(batch, "whole numbers") for batch in (torch.rand(8, 6), torch.zeros(0, 6, dtype=torch.long))]
    for batch, expected in cases:
        with pytest.raises(BadInput, match=expected):
            fleet.logits(batch)
    fleet.set_optimizer("sgd", lr=1e-2)
    with pytest.raises(BadInput, match=r"\(3, 8, 5\).*\(3, 8, 6\)"):
        fleet.step(tokens(0), torch.ones(8, 5, dtype=torch.bool))


def losses_of_the_example(steps: int, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """The losses that the example prints after this number of steps."""
    text = EXAMPLE.read_text()
    assert "range(300)" in text
    torch.manual_seed(0)
    exec(compile(text.replace("range(300)", f"range({steps})"), str(EXAMPLE), "exec"), {})
    return [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]


def test_the_example_is_ten_lines_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    """After 30 of 300 steps the fastest models have learned the repetition and the slowest have not."""
    assert len([line for line in EXAMPLE.read_text().splitlines()[1:] if line.strip()]) <= 10
    losses = losses_of_the_example(30, capsys)
    assert len(losses) == 8
    assert min(losses) < 1 < 2 < max(losses)


@pytest.mark.slow
def test_the_complete_example_learns(capsys: pytest.CaptureFixture[str]) -> None:
    losses = losses_of_the_example(300, capsys)
    assert min(losses) < 0.1 < max(losses)
