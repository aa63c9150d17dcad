"""Low rank: the trained tensors, their initial values, and the merged weights.

Shapes: K runs, B examples, L tokens, S positions, V vocabulary.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.common.errors import BadInput
from synthbench.trainer import low_rank
from synthbench.trainer.fleet import Fleet, views
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.verification import reference
from tests.each import each
from tests.trainer import small
from tests.trainer.small import LENGTH, Run

RUNS = [Run(1, 1e-2, 0.1), Run(2, 2e-2, 0.0), Run(3, 4e-2, 0.3)]
SEEDS = [run.seed for run in RUNS]


def tokens() -> Tensor:
    return torch.from_numpy(small.data(SEEDS, 1).tokens_KNL).long()[..., :-1]


def adapted(fleet: Fleet) -> Fleet:
    """The fleet with random changes of its adapters."""
    with torch.no_grad():
        fleet.flat_KP += 0.1 * torch.randn(fleet.flat_KP.shape, generator=torch.Generator().manual_seed(0))
    return fleet


def test_adapters_have_the_shapes_of_their_matrices_and_the_rank() -> None:
    shapes = {name: p.shape for name, p in small.fleet(SEEDS, "lora-4").trainable.parameters.items()}
    assert {name: shape for name, shape in shapes.items() if name.startswith("layers.1")} == {
        "layers.1.qkv.A": (3, 4, 32), "layers.1.qkv.B": (3, 32, 4),
        "layers.1.out.A": (4, 32), "layers.1.out.B": (32, 4),
        "layers.1.up.A": (4, 32), "layers.1.up.B": (128, 4),
        "layers.1.down.A": (4, 128), "layers.1.down.B": (32, 4),
    }  # fmt: skip


@each("model", [small.MODEL, small.GPT2, small.SWIGLU])
def test_exactly_the_hidden_matrices_have_adapters(model: ModelCard) -> None:
    fleet = small.fleet(SEEDS, "lora-4", model)
    matrices = {"qkv", "out", "up", "down"} | ({"gate"} if model.mlp == "swiglu" else set())
    expected = {f"layers.{i}.{matrix}.{factor}" for i in range(model.layers) for matrix in matrices for factor in "AB"}
    assert set(fleet.trainable.parameters) == expected


@each("optimizer", OPTIMIZERS)
def test_training_changes_every_adapter_and_no_base_weight(optimizer: str) -> None:
    start, after = small.fleet(SEEDS, "lora-4"), small.trained(optimizer, "lora-4", RUNS, 5).fleet
    assert torch.equal(after.base_KP, start.base_KP)
    for name, value in views(after.trainable, after.flat_KP).items():
        assert (value != views(start.trainable, start.flat_KP)[name]).flatten(1).any(1).all(), name


def test_fresh_adapters_do_not_change_the_logits() -> None:
    base, start = small.fleet(SEEDS), small.fleet(SEEDS, "lora-4")
    trained = views(start.trainable, start.flat_KP)
    assert not any(value.any() for name, value in trained.items() if name.endswith(".B"))
    assert all(value.flatten(1).any(1).all() for name, value in trained.items() if name.endswith(".A"))
    assert torch.equal(start.logits(tokens()), base.logits(tokens()))


def test_a_fresh_a_is_uniform_within_one_over_the_root_of_its_columns() -> None:
    fleet = small.fleet(SEEDS, "lora-16")
    for name, value in views(fleet.trainable, fleet.flat_KP.detach()).items():
        if name.endswith(".A"):
            bound = value.shape[-1] ** -0.5
            assert 0.95 * bound < value.abs().max() <= bound
            assert value.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_alpha_is_twice_the_rank() -> None:
    base = {"w": torch.zeros(1, 2, 2)}
    adapter = {"w.A": torch.tensor([[[1.0, 10.0]]]), "w.B": torch.tensor([[[1.0], [3.0]]])}
    assert torch.equal(low_rank.merged(base, adapter)["w"], torch.tensor([[[2.0, 20.0], [6.0, 60.0]]]))


def test_merged_adapters_have_the_logits_of_separate_adapters() -> None:
    fleet = adapted(small.fleet(SEEDS, "lora-4"))
    base = small.fleet(SEEDS)
    for k, tokens_BL in enumerate(tokens()):
        merged = reference.load(small.MODEL, fleet.member(k), LENGTH - 1)(tokens_BL)
        separate = reference.adapt(reference.load(small.MODEL, base.member(k), LENGTH - 1), fleet.saved(k))(tokens_BL)
        torch.testing.assert_close(merged, separate, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fleet.logits(tokens())[k], separate, rtol=1e-5, atol=1e-5)
        assert (merged - base.logits(tokens())[k]).abs().max() > 0.1  # the adapters change the logits


def test_a_rank_above_the_width_is_refused() -> None:
    assert len(small.fleet(SEEDS, "lora-32")) == 3
    with pytest.raises(BadInput, match=r"'lora-33'.*32"):
        small.fleet(SEEDS, "lora-33")


@each("optimizer", OPTIMIZERS)
def test_full_hidden_changes_exactly_the_hidden_matrices(optimizer: str) -> None:
    start = small.fleet(SEEDS, model=small.GPT2)
    after = small.trained(optimizer, "full-hidden", RUNS, 5, small.GPT2).fleet
    hidden = {name for name, p in after.layout.parameters.items() if p.group == "hidden"}
    assert hidden == {f"layers.{i}.{matrix}" for i in range(2) for matrix in ("qkv", "out", "up", "down")}
    assert set(after.trainable.parameters) == hidden
    for k in range(len(RUNS)):
        before, trained = start.member(k), after.member(k)
        assert {name for name in trained if not torch.equal(trained[name], before[name])} == hidden
