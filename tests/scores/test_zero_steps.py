"""Zero steps of finetuning have exactly zero forgetting and update norm, for every update.

Shapes: K runs, P floats in a run's row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.execution import observe
from synthbench.execution.observe import ItemSets, Observer, item_sets
from synthbench.generators import Place, Task, join, stream
from synthbench.scores import Point, at_point
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import Fleet, initialize
from synthbench.trainer.loop import Data, order, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests import tiny
from tests.each import each

SEEDS = [0, 1]
# few names: a short pretraining learns some of them
TASK = Task(tiny.task_card({
    "language.syllables": 48, "language.name_length": 1, "held_out.validation": 4, "held_out.test": 5,
    "stages.pretrain.fact.items": 4, "stages.pretrain.rule.items": 12, "stages.finetune.fact.items": 4,
    "stages.finetune.rule.items": 12,
}))  # fmt: skip
MODELS = {
    "modern": ModelCard(width=32, layers=1, head_width=8),
    "gpt2": ModelCard(width=32, layers=1, head_width=8, norm="layernorm", positions="learned", mlp="gelu", tied=True),
}
UPDATES = ("full", "full-hidden", "lora-4")
SAMPLE = 3
Base = tuple[layouts.Layout, Tensor]
Bases = tuple[ModelCard, dict[str, Base]]


def fresh(model: ModelCard) -> Base:
    layout = layouts.transformer(model, TASK.language.vocabulary, TASK.language.length - 1)
    return layout, initialize(layout, model, SEEDS, torch.device("cpu"))


def pretrained(model: ModelCard) -> Base:
    """The base after 30 steps on the pretraining data; it knows some items."""
    layout, base_KP = fresh(model)
    fleet, steps = Fleet(model, layout, base_KP), 30
    examples_of_seeds = [
        join({name: splits.train for name, splits in TASK.draw("pretrain", seed).items()}) for seed in SEEDS
    ]
    shares = {
        name: (np.ones(TASK.card.size("pretrain")[name], dtype=np.int16), count)
        for name, count in TASK.shares("pretrain", 16).items()
    }
    orders = [order(shares, steps, stream(Place(seed, "t", "pretrain", ""), "train", "order")) for seed in SEEDS]
    data = Data(
        np.stack([examples.tokens_NL for examples in examples_of_seeds]),
        np.stack([examples.answer_NL for examples in examples_of_seeds]),
        np.stack(orders),
    )
    train(
        FleetOptimizer("adamw", fleet), data, Schedule(steps, "constant", 0.0), ([1e-2] * 2, [0.0] * 2), (),
        lambda step: None,
    )  # fmt: skip
    return layout, fleet.flat_KP.detach()


@pytest.fixture(scope="module")
def sets() -> dict[str, ItemSets]:
    """Item sets with an entropy that caps no loss, for a cap would hide differences."""
    item_sets_of_task = item_sets(TASK, "finetune", ("pretrain",), SEEDS, TASK.card.size("finetune"))
    return {
        name: set_of_items._replace(
            examples=[replace(examples, bits_N=examples.bits_N + 1e6) for examples in set_of_items.examples]
        )
        for name, set_of_items in item_sets_of_task.items()
    }


@pytest.fixture(scope="module", params=MODELS)
def bases(request: pytest.FixtureRequest) -> Bases:
    model = MODELS[request.param]
    return model, {"fresh": fresh(model), "pretrained": pretrained(model)}


def pairs(observer: Observer) -> list[tuple[Point, Point]]:
    start = observer.start(SAMPLE)
    return [*zip(start, observer.path(SAMPLE, SAMPLE), strict=True), *zip(start, observer.end(), strict=True)]


@each("update", UPDATES)
@each("base", ["fresh", "pretrained"])
def test_zero_steps_have_zero_forgetting_and_zero_update_norm(
    bases: Bases, sets: dict[str, ItemSets], base: str, update: str
) -> None:
    model, bases_by_name = bases
    layout, base_KP = bases_by_name[base]
    fleet = Fleet(model, layout, base_KP, update, [10, 11])
    for before, after in pairs(Observer(fleet, sets)):
        scores = at_point(before, after)
        forgetting_names = {
            name for name in scores if "forgetting" in name or name.startswith(("kl_new", "update_norm"))
        }
        assert {"forgetting", "fact_forgetting", "skill_forgetting", "loss_forgetting", "kl_new"} <= forgetting_names
        assert {name for name in forgetting_names if name.startswith("update_norm")} == {
            f"update_norm.{parameter.group}" for parameter in layout.parameters.values()
        }
        assert {name: scores[name] for name in forgetting_names} == dict.fromkeys(forgetting_names, 0.0)
        assert scores.get("retention", 1.0) == scores.get("kept", 1.0) == 1.0
        assert scores.get("overwritten", 0.0) == scores.get("lost", 0.0) == 0.0
        for name in before.sets.keys() & after.sets.keys():
            count = min(len(before.sets[name].nll_N), len(after.sets[name].nll_N))
            assert np.array_equal(before.sets[name].nll_N[:count], after.sets[name].nll_N[:count])


@each("update", UPDATES)
def test_a_step_changes_only_the_weights_of_the_update(bases: Bases, sets: dict[str, ItemSets], update: str) -> None:
    model, bases_by_name = bases
    fleet = Fleet(model, *bases_by_name["pretrained"], update, [10, 11])
    observer = Observer(fleet, sets)
    start = observer.start(SAMPLE)
    assert all(before.sets["old/fact/train"].exact_match > 0 for before in start)  # some items are known
    with torch.no_grad():
        fleet.flat_KP[1] += 0.05
    unchanged, changed = (at_point(*pair) for pair in zip(start, observer.end(), strict=True))
    assert all(
        unchanged[name] == 0 for name in unchanged if name.startswith(("update_norm", "kl_new", "loss_forgetting"))
    )
    assert changed["update_norm.hidden"] > 0
    assert changed["kl_new"] > 0
    assert changed["loss_forgetting"] != 0
    assert (changed["update_norm.embedding"] > 0) == (update == "full")


def test_scores_do_not_depend_on_the_block_size(
    bases: Bases,
    sets: dict[str, ItemSets],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, bases_by_name = bases

    def scores_of_runs() -> list[dict[str, float]]:
        fleet = Fleet(model, *bases_by_name["pretrained"])
        observer = Observer(fleet, sets)
        start = observer.start(SAMPLE)
        with torch.no_grad():
            fleet.flat_KP += 0.05
        ends = observer.end()
        assert all(len(end.sets["new/rule/test"].kl_N) == SAMPLE for end in ends)
        return [at_point(*pair) for pair in zip(start, ends, strict=True)]

    expected = scores_of_runs()
    for block in (1, 2, 3):
        monkeypatch.setattr(observe, "BLOCK", block)
        for scores, scores_in_blocks in zip(expected, scores_of_runs(), strict=True):
            assert scores_in_blocks == pytest.approx(scores, rel=1e-5), block
