"""Studies of any size without training: their cards, and folders with a result for every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.readings import wanted
from synthbench.experiment.resolve import RunRequest, experiment_id, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.store.results import Kept, Store
from tests import tiny

UPDATES = ("full", "full-hidden", "lora-2", "lora-4", "lora-8")
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
SEEDS = 33
POINTS = 20  # of a path
BATCH = 2000  # runs stored in one transaction
ALONG = (
    "fact_recall", "rule_fit", "rule_accuracy", "fit", "learning", "rote_gap", "forgetting", "fact_forgetting",
    "skill_forgetting", "kept", "overwritten", "lost", "loss_forgetting", "kl_new", "update_norm.hidden",
)  # fmt: skip
COLUMNS = ("rule_accuracy@fit", "fact_forgetting@fit", "learning@fits", "forgetting@steps", "learning")


class Shape(NamedTuple):
    """How large a study is. A task has 3 optimizers x (1 + 5 updates x decays x 5 rates) runs a seed."""

    tasks: int
    decays: int
    seeds: int

    @property
    def runs(self) -> int:
        return self.tasks * 3 * (1 + len(UPDATES) * self.decays * len(RATES)) * self.seeds


SHAPES = {10**3: Shape(1, 1, 13), 10**4: Shape(1, 4, SEEDS), 10**5: Shape(10, 4, SEEDS), 10**6: Shape(100, 4, SEEDS)}


def study(folder: Path, shape: Shape) -> Experiment:
    """A study of this shape; its cards are written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"task-{number}" for number in range(shape.tasks)]
    for name in names:
        (folder / f"{name}.toml").write_text(tiny.TASK.replace("tiny-task", name))
    columns = f'columns = {json.dumps(COLUMNS)}\nrank = "learning@fit"'
    card = tiny.RUNNER.replace("[TASK]", json.dumps([f"{name}.toml" for name in names]))
    card = card.replace('columns = ["fact_recall", "rule_accuracy@fit", "learning"]', columns)
    (folder / "runner.toml").write_text(card.replace('optimizers = ["adamw"]', 'optimizers = ["adamw", "muon", "sgd"]'))
    settings = [
        "stages.pretrain.lr=[1e-3]", f"stages.finetune.lr={list(RATES)}", f"stages.finetune.update={list(UPDATES)}",
        "stages.finetune.steps=200", f"stages.finetune.points={POINTS}", "reading.target_steps=[30, 60, 90]",
        "reading.target_step=60",
    ]  # fmt: skip
    decays = ",".join(str(number / 10) for number in range(shape.decays))
    axes = [f"stages.finetune.weight_decay={decays}"] if shape.decays > 1 else []
    (folder / "request.json").write_text(json.dumps([settings, axes, shape.seeds]))
    return again(folder)


def again(folder: Path) -> Experiment:
    """A study whose cards are written, resolved once more."""
    settings, axes, seeds = json.loads((folder / "request.json").read_text())
    return resolve(RunRequest(str(folder / "runner.toml"), settings=settings, axes=axes, seeds=seeds, device="cpu"))


def result_of(run: Run) -> Result:
    """Some result: scores follow from the run's id, fit rises faster at higher rates."""
    noise = np.random.default_rng(int(run.id[:12], 16))
    steps = [round(run.steps * point / POINTS) for point in range(POINTS + 1)]
    speed = run.lr / 1e-3 * float(noise.uniform(0.8, 1.2)) / 60
    values_TS = noise.uniform(0, 1, (len(steps), len(ALONG))).round(4)
    values_TS[:, ALONG.index("fit")] = [min(1.0, step * speed) for step in steps]
    path = {step: dict(zip(ALONG, row, strict=True)) for step, row in zip(steps, values_TS.tolist(), strict=True)}
    loss = abs(float(np.log2(run.lr / 2e-3))) + float(noise.uniform(0, 0.1))
    scores = path[steps[-1]] | {"validation_learning": 0.5, "validation_loss": loss}
    if run.parent is None:
        path = {0: path[0], steps[-1]: path[steps[-1]]}
    return Result(
        run.id,
        "ok",
        scores,
        path,
        1,
        None,
        8,
        1.5,
        "2026-01-01T00:00:00+00:00",
        "a device",
        {"torch": "2", "numpy": "2"},
    )


def fill(folder: Path, experiment: Experiment, result: Callable[[Run], Result] = result_of) -> None:
    """Stores a result for every run of a study, of which no grid grows."""
    name, card = experiment_id(experiment), experiment.card
    with closing(Store.create(folder)) as store:
        for cell, runs in Plan(experiment, {}).whole().items():
            reads = wanted(card.reading, cell.size) if cell.stage == card.stages[-1].name else None
            for start in range(0, len(runs), BATCH):
                made = [(run, result(run)) for run in runs[start : start + BATCH]]
                if reads:
                    made = [(run, replace(one, readings=one.reading(reads))) for run, one in made]
                store.keep_all([Kept(run, one, [1.0] * 100, None, None, [cell]) for run, one in made], name)
        tasks = {label: task.fingerprint for label, task in experiment.tasks.items()}
        store.record(name, card.model_dump_json(by_alias=True), json.dumps(tasks), "synthbench run", finished=True)
