"""The training loop: batches, epochs, the first position of the loss, evaluation points.

Shapes: K runs, N items, L tokens, T steps, B examples.
"""

from __future__ import annotations

import numpy as np
import torch

from synthbench.trainer.loop import first_position, order, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests.each import each
from tests.trainer import small
from tests.trainer.small import LENGTH, Run

SHARES = {"fact": (np.ones(12, dtype=np.int16), 2), "rule": (np.ones(40, dtype=np.int16), 6)}
RUNS = [Run(1, 1e-2, 0.1), Run(2, 1e-2, 0.1), Run(3, 1e-2, 0.1)]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_every_batch_holds_the_same_share_of_every_slice() -> None:
    order_TB = order(SHARES, 50, generator())
    assert order_TB.shape == (50, 8)
    assert ((order_TB < 12).sum(1) == 2).all()
    assert ((order_TB >= 12) & (order_TB < 52)).sum(1).tolist() == [6] * 50


def test_every_item_is_shown_once_per_epoch_of_its_slice() -> None:
    order_TB = order(SHARES, 120, generator())
    for columns, items in ((order_TB[:, :2], range(12)), (order_TB[:, 2:], range(12, 52))):
        epochs = columns.reshape(-1, len(items))
        assert len(epochs) == columns.size / len(items)
        assert (np.sort(epochs, axis=1) == np.array(items)).all()
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)  # in different orders


def test_exposures_of_a_slice_differ_by_at_most_one() -> None:
    counts = np.bincount(order(SHARES, 47, generator()).reshape(-1), minlength=52)
    assert set(counts[:12]) == set(counts[12:]) == {7, 8}
    assert (counts[:12].sum(), counts[12:].sum()) == (2 * 47, 6 * 47)


def test_a_slice_smaller_than_its_share_of_a_batch_repeats_evenly() -> None:
    order_TB = order({"fact": (np.ones(3, dtype=np.int16), 6)}, 5, generator())
    assert all(np.bincount(batch).tolist() == [2, 2, 2] for batch in order_TB)


def test_an_epoch_shows_each_item_as_often_as_its_repeats() -> None:
    repeats_N = np.array([3, 1, 2], dtype=np.int16)  # an epoch of 6 examples: 4 epochs in 8 steps of 3
    order_TB = order({"fact": (repeats_N, 3), "rule": (np.ones(5, dtype=np.int16), 1)}, 8, generator())
    epochs = order_TB[:, :3].reshape(4, 6)
    assert all(np.bincount(epoch).tolist() == [3, 1, 2] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert sorted(order_TB[:5, 3].tolist()) == [3, 4, 5, 6, 7]  # items of the next slice follow


def test_the_first_position_precedes_the_earliest_answer() -> None:
    answer_NL = np.zeros((4, 9), dtype=bool)
    answer_NL[:, 7:] = True
    assert first_position(answer_NL) == 6
    answer_NL[2, 5] = True
    assert first_position(answer_NL) == 4
    assert first_position(answer_NL[None]) == 4


@each("at_steps", [(), (0,), (0, 3, 7), (7,), (1, 2, 3)])
def test_points_are_evaluated_after_exactly_these_steps(at_steps: tuple[int, ...]) -> None:
    fleet, evaluated, steps = small.fleet([1, 2, 3]), list[int](), list[int]()
    rates = [1e-2] * 3, [0.0] * 3
    weights = {0: fleet.flat_KP.detach().clone()}

    def on_step(step: int) -> None:
        steps.append(step)
        weights[step] = fleet.flat_KP.detach().clone()

    def on_point(step: int) -> None:
        evaluated.append(step)
        if step in weights:  # a point after step t has the weights of step t
            assert torch.equal(fleet.flat_KP, weights[step])

    data, schedule = small.data([1, 2, 3], 7), Schedule(7, "constant", 0.0)
    train(FleetOptimizer("adamw", fleet), data, schedule, rates, at_steps, on_point, on_step)
    assert evaluated == list(at_steps)
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert not torch.equal(weights[6], weights[7])


def test_evaluation_does_not_change_training() -> None:
    def final(at_steps: range) -> torch.Tensor:
        fleet = small.fleet([1, 2, 3], "lora-4")

        def evaluate(step: int) -> None:
            with torch.no_grad():
                fleet.logits(torch.zeros(3, 2, LENGTH - 1, dtype=torch.long))
            fleet.member(0)["embedding"].zero_()

        data, schedule = small.data([1, 2, 3], 5), Schedule(5, "constant", 0.0)
        train(FleetOptimizer("muon", fleet), data, schedule, ([1e-2] * 3, [0.1] * 3), at_steps, evaluate)
        return fleet.flat_KP.detach()

    assert torch.equal(final(range(6)), final(range(0)))


def test_training_is_bitwise_repeatable() -> None:
    first, second = (small.trained("muon", "full", RUNS, 5) for _ in range(2))
    assert torch.equal(first.fleet.flat_KP, second.fleet.flat_KP)
    assert np.array_equal(first.curve_TK, second.curve_TK)
