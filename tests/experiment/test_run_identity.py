"""A run's id changes with all that can change its numbers and with nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Environment, OptimizerSpec, Result, Run
from tests import tiny
from tests.each import each

RULE = OptimizerSpec("adamw", (("*", "adamw"),), {"betas": [0.9, 0.95], "eps": 1e-8}, "source")
RUN = Run(
    task="t", task_version="1.0", task_fingerprint="f", model={"width": 8, "layers": 1}, stage="finetune",
    history=("pretrain",), optimizer=RULE, lr=1e-3, weight_decay=0.0, update="full", steps=10, batch=4, schedule="constant",
    warmup=0.05, examples={"fact": 3, "rule": 9}, points=2, sample=8, relearn=0, seed=0, salt="", parent="parent",
    environment=Environment("source", "2.13", "cpu"),
)  # fmt: skip
CHANGES: dict[str, list[Any]] = {
    "task": ["u"],
    "task_version": ["1.1"],
    "task_fingerprint": ["g"],
    "model": [{"width": 16, "layers": 1}, {"width": 8}],
    "stage": ["other"],
    "history": [(), ("pretrain", "more")],
    "optimizer": [
        replace(RULE, name="muon"),
        replace(RULE, routing=(("*.up", "muon"), ("*", "adamw"))),
        replace(RULE, arguments={"betas": [0.9, 0.999], "eps": 1e-8}),
        replace(RULE, source="edited"),
    ],
    "lr": [2e-3],
    "weight_decay": [0.1],
    "update": ["lora-4"],
    "steps": [11],
    "batch": [8],
    "schedule": ["cosine"],
    "warmup": [0.0],
    "examples": [{"fact": 3, "rule": 8}],
    "points": [1],
    "sample": [9],
    "relearn": [50],
    "seed": [1],
    "salt": ["other"],
    "parent": ["another", None],
    "environment": [
        replace(RUN.environment, source="edited"),
        replace(RUN.environment, torch="2.14"),
        replace(RUN.environment, device="cuda"),
        replace(RUN.environment, dtype="bfloat16"),
    ],
}


@each("name", [field.name for field in fields(Run)])
def test_a_runs_id_changes_with_every_field_and_those_of_one_fleet_differ_in_five_alone(name: str) -> None:
    for value in CHANGES[name]:
        other = replace(RUN, **{name: value})
        assert other.id != RUN.id
        assert (other.kind == RUN.kind) == (name in ("lr", "weight_decay", "seed", "salt", "parent"))


def test_a_runs_id_depends_on_the_order_of_routing_and_history_and_not_on_that_of_tables() -> None:
    for name in ("model", "examples"):
        assert replace(RUN, **{name: dict(reversed(getattr(RUN, name).items()))}).id == RUN.id
    assert replace(RUN, optimizer=replace(RULE, arguments=dict(reversed(RULE.arguments.items())))).id == RUN.id
    routing = (("a", "muon"), ("*", "adamw"))
    one, other = (replace(RUN, optimizer=replace(RULE, routing=found)) for found in (routing, routing[::-1]))
    assert one.id != other.id
    assert replace(RUN, history=("a", "b")).id != replace(RUN, history=("b", "a")).id


def test_a_setting_makes_new_runs_of_the_stages_whose_numbers_it_changes(tmp_path: Path) -> None:
    """Children of new parents are new as well: here they are compared from the same parents."""

    def planned(*settings: str) -> dict[str, set[str]]:
        experiment = tiny.experiment(tmp_path, *settings)
        parents = Plan(experiment, {}).ready()
        scores = {"validation_learning": 0.5, "validation_loss": 1.0}
        children = Plan(experiment, {run.id: Result(run.id, "ok", scores) for run in parents}).ready()
        same = [replace(run, parent=str(run.seed)) for run in children]
        return {"pretrain": {run.id for run in parents}, "finetune": {run.id for run in same}}

    before = planned()
    for setting, changed in (
        ("stages.finetune.points=1", {"finetune"}),
        ("stages.finetune.steps=11", {"finetune"}),
        ("stages.finetune.examples.rule=30", {"finetune"}),
        ("stages.pretrain.steps=11", {"pretrain"}),
        ("reading.sample=9", {"pretrain", "finetune"}),
        ("optimizer.eps=1e-6", {"pretrain", "finetune"}),
        ("model.width=32", {"pretrain", "finetune"}),
        ("reading.fit=0.8", set()),
        ("columns=['fit']", set()),
        ("name=another", set()),
        ("question=another", set()),
        ("cost=another", set()),
    ):
        after = planned(setting)
        assert {stage for stage in before if before[stage] != after[stage]} == changed, setting
        assert {stage for stage in before if not before[stage] & after[stage]} == changed, setting
