"""Losses and gradients in C++ are those of autograd, over every option of a model and every kind of update.

Shapes: K runs, B examples, L tokens, V vocabulary.
"""

from __future__ import annotations

from itertools import cycle, product
from typing import NamedTuple

import pytest
import torch

from synthbench.cards import ModelCard
from synthbench.trainer import transformer
from synthbench.trainer.fleet import Fleet, views
from synthbench.trainer.native import looks
from synthbench.trainer.native.gradients import Gradients
from synthbench.trainer.step import losses
from tests.trainer import native

TOLERANCE = (
    1e-5  # relative: of a loss, and of each parameter's gradient, by its norm and a hundredth of the whole one's
)
UPDATES = ("full", "full-hidden", "lora-1", "lora-4")


class Shape(NamedTuple):
    """first: the first position that predicts an answer."""

    layers: int
    width: int
    head_width: int
    expansion: int
    vocabulary: int
    batch: int
    length: int
    first: int


SHAPES = (
    Shape(2, 32, 8, 4, 20, 8, 8, 4),  # the table by vocabulary entry is used
    Shape(1, 24, 6, 2, 300, 3, 17, 2),  # more entries than tokens: it is not; heads no multiple of eight
    Shape(3, 32, 16, 1, 11, 5, 33, 0),
    Shape(1, 16, 16, 4, 9, 4, 8, 7),  # one layer, one head, one position
    Shape(2, 16, 4, 4, 40, 2, 70, 12),
)
STYLES = [*product(("rmsnorm", "layernorm"), ("rope", "learned"), ("relu2", "gelu", "swiglu"), (False, True))]
SHAPE_OF = cycle(SHAPES)
CASES = [(next(SHAPE_OF), style, update) for style, update in product(STYLES, UPDATES)]


@pytest.fixture(autouse=True)
def _loaded() -> None:
    native.load()


def batch(shape: Shape, runs: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens; answers lie at a share of the positions from `first` on, so that examples end at different ones."""
    generator = torch.Generator().manual_seed(1)
    tokens_KBL = torch.randint(shape.vocabulary, (runs, shape.batch, shape.length + 1), generator=generator)
    answer_KBL = torch.rand(tokens_KBL.shape, generator=generator) < share
    answer_KBL[..., : shape.first + 1] = False
    answer_KBL[:, 0, shape.first + 1] = True
    return tokens_KBL, answer_KBL


def assert_equal_to_autograd(fleet: Fleet, tokens_KBL: torch.Tensor, answer_KBL: torch.Tensor, first: int) -> None:
    exact = native.in_double(fleet)
    loss_K = losses(exact, tokens_KBL, answer_KBL, first)
    loss_K.sum().backward()
    gradients = Gradients(fleet, tokens_KBL.shape[-1] - 1)
    for k in range(len(fleet)):
        row = torch.zeros(fleet.trainable.row)
        loss = gradients.of(k, tokens_KBL[k], answer_KBL[k], first, row)
        assert loss == pytest.approx(loss_K[k].item(), rel=TOLERANCE)
        expected = {name: grad[k] for name, grad in views(exact.trainable, exact.grad_KP).items()}
        whole = exact.grad_KP[k].norm()  # of a matrix of rank one nearly all may cancel
        for name, grad in views(fleet.trainable, row[None]).items():
            assert (grad[0] - expected[name]).norm() <= TOLERANCE * (expected[name].norm() + 0.01 * whole), name


@pytest.mark.parametrize(("shape", "style", "update"), CASES)
def test_losses_and_gradients_are_those_of_autograd(
    shape: Shape, style: tuple[str, str, str, bool], update: str
) -> None:
    norm, positions, mlp, tied = style
    model = ModelCard(
        width=shape.width, layers=shape.layers, head_width=shape.head_width, expansion=shape.expansion,
        norm=norm, positions=positions, mlp=mlp, tied=tied,
    )  # fmt: skip
    fleet = native.fleet(model, shape.vocabulary, shape.length, update)
    for share in (0.1, 0.6, 1.0):
        assert_equal_to_autograd(fleet, *batch(shape, len(fleet), share), shape.first)


@pytest.mark.parametrize(("shape", "style", "update"), CASES[::3])
def test_looks_have_the_logits_of_torch(shape: Shape, style: tuple[str, str, str, bool], update: str) -> None:
    norm, positions, mlp, tied = style
    model = ModelCard(
        width=shape.width, layers=shape.layers, head_width=shape.head_width, expansion=shape.expansion,
        norm=norm, positions=positions, mlp=mlp, tied=tied,
    )  # fmt: skip
    fleet = native.fleet(model, shape.vocabulary, shape.length, update)
    tokens_KBL = batch(shape, len(fleet), 1.0)[0][..., :-1]
    with torch.no_grad():
        for first in {0, shape.first}:
            expected = transformer.logits(model, fleet.weights(), tokens_KBL, first)
            found = looks.logits(model, fleet.weights(), tokens_KBL, first)
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
            alone = looks.logits(model, {n: value[1:] for n, value in fleet.weights().items()}, tokens_KBL[1:], first)
            assert torch.equal(alone[0], found[1])


def test_tokens_after_the_last_answer_change_nothing() -> None:
    """Rows that no answer depends on are left out."""
    shape, model = SHAPES[0], ModelCard(width=32, layers=2, head_width=8)
    fleet = native.fleet(model, shape.vocabulary, shape.length, "full")
    tokens_KBL, answer_KBL = batch(shape, 2, 1.0)
    answer_KBL[..., 7:] = False
    changed_KBL = tokens_KBL.clone()
    changed_KBL[..., 7:] = 0
    rows = torch.zeros(2, fleet.trainable.row)
    gradients = Gradients(fleet, shape.length)
    one = gradients.of(0, tokens_KBL[0], answer_KBL[0], 4, rows[0])
    two = gradients.of(0, changed_KBL[0], answer_KBL[0], 4, rows[1])
    assert one == two
    assert torch.equal(rows[0], rows[1])


def test_a_batch_without_answers_is_refused() -> None:
    shape, model = SHAPES[0], ModelCard(width=32, layers=2, head_width=8)
    fleet = native.fleet(model, shape.vocabulary, shape.length, "full")
    tokens_KBL, answer_KBL = batch(shape, 2, 1.0)
    row = torch.zeros(fleet.trainable.row)
    with pytest.raises(RuntimeError, match="no token is asked for"):
        Gradients(fleet, shape.length).of(0, tokens_KBL[0], answer_KBL[0] & False, 4, row)


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    shape, model = SHAPES[0], ModelCard(width=32, layers=2, head_width=8)
    fleet = native.fleet(model, shape.vocabulary, shape.length, "full")
    tokens_KBL, answer_KBL = batch(shape, 2, 1.0)
    tokens_KBL[0, 0, 0] = shape.vocabulary
    with pytest.raises(RuntimeError, match="beyond the vocabulary"):
        Gradients(fleet, shape.length).of(0, tokens_KBL[0], answer_KBL[0], 4, torch.zeros(fleet.trainable.row))
