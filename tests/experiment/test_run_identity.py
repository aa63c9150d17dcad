"""A run's id hashes every input that affects its results and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Environment, OptimizerSpec, Result, Run
from tests import tiny
from tests.each import each

OPTIMIZER = OptimizerSpec("adamw", (("*", "adamw"),), {"betas": [0.9, 0.95], "eps": 1e-8}, "source")
RUN = Run(
    task="t", task_version="1.0", task_fingerprint="f", model={"width": 8, "layers": 1}, stage="finetune",
    history=("pretrain",), optimizer=OPTIMIZER, lr=1e-3, weight_decay=0.0, update="full", steps=10, batch=4,
    schedule="constant", warmup=0.05, examples={"fact": 3, "rule": 9}, points=2, sample=8, bracket_sample=16,
    levels=(0.5, 0.9), relearn=0, seed=0, salt="", parent="parent", environment=Environment("source", "2.13", "cpu"),
)  # fmt: skip
CHANGES: dict[str, list[Any]] = {
    "task": ["u"],
    "task_version": ["1.1"],
    "task_fingerprint": ["g"],
    "model": [{"width": 16, "layers": 1}, {"width": 8}],
    "stage": ["other"],
    "history": [(), ("pretrain", "more")],
    "optimizer": [
        replace(OPTIMIZER, name="muon"),
        replace(OPTIMIZER, routing=(("*.up", "muon"), ("*", "adamw"))),
        replace(OPTIMIZER, arguments={"betas": [0.9, 0.999], "eps": 1e-8}),
        replace(OPTIMIZER, source="edited"),
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
    "bracket_sample": [17],
    "levels": [(0.5, 0.8), (0.5,), ()],
    "relearn": [50],
    "seed": [1],
    "salt": ["other"],
    "parent": ["another", None],
    "environment": [
        replace(RUN.environment, source="edited"),
        replace(RUN.environment, torch="2.14"),
        replace(RUN.environment, device="cuda"),
        replace(RUN.environment, dtype="bfloat16"),
        replace(RUN.environment, path="native"),
    ],
    "probes": [("update",), ("update", "landscape")],
    "remedy": [{"l2": 1.0}, {"l2": 2.0}],
}
READING = ("reading.sample=3", "reading.bracket_sample=40", "reading.fit=0.75")


@each("name", [field.name for field in fields(Run)])
def test_a_runs_id_changes_with_every_field_and_its_kind_with_all_but_five(name: str) -> None:
    for value in CHANGES[name]:
        changed = replace(RUN, **{name: value})
        assert changed.id != RUN.id
        assert (changed.kind == RUN.kind) == (name in ("lr", "weight_decay", "seed", "salt", "parent"))


def test_torchs_path_goes_without_saying_in_an_id() -> None:
    """Ids of before there was another path stay as they are."""
    assert RUN.id == "5219e3b54cc37980eb6fd28d86d117d029962a9e95643cecf74e4d2f0a87f9f5"
    assert Environment(**RUN.identity["environment"]) == RUN.environment
    native = replace(RUN, environment=replace(RUN.environment, path="native"))
    assert Environment(**native.identity["environment"]) == native.environment


def test_a_runs_id_depends_on_the_order_of_routing_and_history_but_not_of_tables() -> None:
    for name in ("model", "examples"):
        assert replace(RUN, **{name: dict(reversed(getattr(RUN, name).items()))}).id == RUN.id
    arguments = dict(reversed(OPTIMIZER.arguments.items()))
    assert replace(RUN, optimizer=replace(OPTIMIZER, arguments=arguments)).id == RUN.id
    routing = (("a", "muon"), ("*", "adamw"))
    forward = replace(RUN, optimizer=replace(OPTIMIZER, routing=routing))
    backward = replace(RUN, optimizer=replace(OPTIMIZER, routing=routing[::-1]))
    assert forward.id != backward.id
    assert replace(RUN, history=("a", "b")).id != replace(RUN, history=("b", "a")).id


def test_how_a_path_is_read_matters_only_where_it_is_read(tmp_path: Path) -> None:
    """A stage without points on the way is evaluated at its ends alone, on as many items whatever the card says."""
    unread = "stages.finetune.points=1"
    runs = [Plan(tiny.experiment(tmp_path, unread, *settings), {}).whole().values() for settings in ((), READING)]
    assert [[run.id for run in runs_of_cell] for runs_of_cell in runs[0]] == [
        [run.id for run in runs_of_cell] for runs_of_cell in runs[1]
    ]


def test_a_setting_changes_the_ids_of_the_stages_it_affects(tmp_path: Path) -> None:
    """A child's id hashes its parent's id, which the comparison replaces by the seed."""

    def planned(*settings: str) -> dict[str, set[str]]:
        experiment = tiny.experiment(tmp_path, *settings)
        parents = Plan(experiment, {}).ready()
        scores = {"validation_learning": 0.5, "validation_loss": 1.0}
        children = Plan(experiment, {run.id: Result(run.id, "ok", scores) for run in parents}).ready()
        rebased = [replace(run, parent=str(run.seed)) for run in children]
        return {"pretrain": {run.id for run in parents}, "finetune": {run.id for run in rebased}}

    before = planned()
    for setting, changed in (
        ("stages.finetune.points=1", {"finetune"}),
        ("stages.finetune.steps=11", {"finetune"}),
        ("stages.finetune.examples.rule=30", {"finetune"}),
        ("stages.pretrain.steps=11", {"pretrain"}),
        ("reading.sample=9", {"finetune"}),
        ("reading.bracket_sample=17", {"finetune"}),
        ("stages.finetune.relearn=5", {"finetune"}),
        ("stages.pretrain.relearn=5", set()),  # there is nothing to relearn
        ("optimizer.eps=1e-6", {"pretrain", "finetune"}),
        ("model.width=32", {"pretrain", "finetune"}),
        ("reading.fit=0.8", set()),  # a level of every run
        ("reading.fit=0.75", {"finetune"}),
        ("columns=['fit']", set()),
        ("name=another", set()),
        ("question=another", set()),
        ("cost=another", set()),
    ):
        after = planned(setting)
        assert {stage for stage in before if before[stage] != after[stage]} == changed, setting
        assert {stage for stage in before if not before[stage] & after[stage]} == changed, setting
