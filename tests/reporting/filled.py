"""Folders of results in which nothing was trained: every planned run is kept with scores made by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, experiment_id, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.reporting import report
from synthbench.reporting.report import Report
from synthbench.store import members
from synthbench.store.results import Store
from tests import tiny

CARD = (
    tiny.RUNNER.replace("seeds = 2", "seeds = 3")
    .replace("lr = [1e-3]", 'lr = { adamw = [1e-3], muon = [1e-3], sgd = [1e-3] }')
    .replace('["fact_recall", "rule_accuracy@fit", "learning"]', '["learning", "loss_forgetting", "rule_accuracy@fit"]')
    .replace("points = 2", 'points = 2\nupdate = ["full", "lora-4"]')
)  # fmt: skip
Scored = Callable[[Run], dict[str, float]]


def folder(out: Path, scored: Scored, *settings: str, task: str = tiny.TASK, **asked: Any) -> Path:
    """Fills a folder with the results of a card. scored: the scores of a run of its last stage."""
    out.mkdir(parents=True, exist_ok=True)
    card_path = tiny.write(out, CARD)
    (out / "task.toml").write_text(task)
    wanted: dict[str, Any] = {"optimizers": ["adamw", "muon"], **asked}
    experiment = resolve(RunRequest(str(card_path), settings=settings, device="cpu", **wanted))
    with closing(Store.create(out)) as store:
        done = store.results()
        while runs := Plan(experiment, done).ready():
            for run in runs:
                last = run.stage == experiment.card.stages[-1].name
                scores = {"validation_learning": 0.5, "validation_loss": 1.0} | (scored(run) if last else {})
                path = paths(run, scores) if last else {}
                made = Result(run.id, "ok", scores, path, device="a device", versions={"torch": "2"})
                store.keep(run, made, [], None)
            done = store.results()
        members.enlist(experiment, experiment_id(experiment), store, done)
        tasks = {name: task.fingerprint for name, task in experiment.tasks.items()}
        command = shlex.join(["synthbench", "run", str(card_path), "--optimizer", "adamw,muon", "--quiet"])
        card_text = experiment.card.model_dump_json(by_alias=True)
        store.record(experiment_id(experiment), card_text, json.dumps(tasks), command, finished=True)
    return out


def latest(out: Path) -> Report:
    """The report on a folder."""
    with closing(Store.read(out)) as store:
        return report.latest(store)


def paths(run: Run, scores: dict[str, float]) -> dict[int, dict[str, float]]:
    """A path with these scores at every point, which fits .9 after 4 steps at the higher rate and after 6 at the other."""
    reached = 4 if run.lr > 1e-3 else 6
    return {step: scores | {"fit": fit} for step, fit in ((0, 0.0), (reached, 0.9), (10, 1.0))}
