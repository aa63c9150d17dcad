"""Folders of results without training: every planned run of a small card is stored with scores that the test chooses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from synthbench.experiment.plan import Experiment, Plan
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
    .replace("lr = [1e-3, 2e-3]", "lr = [5e-4, 1e-3, 2e-3]")
    .replace("points = 2", 'points = 2\nupdate = ["full", "lora-4"]')
)  # fmt: skip
CHOSEN = 1e-3  # the rate that is best on validation data, in the middle of the grid
TWO_RATES = "stages.finetune.lr=[1e-3,2e-3]"
FULL_UPDATE = "stages.finetune.update=['full']"
Scores = Callable[[Run], dict[str, float]]


def write(
    out: Path, scores_of: Scores, *settings: str, task: str = tiny.TASK,
    device_of: Callable[[Run], str] = lambda run: "a device", **options: Any,
) -> Path:  # fmt: skip
    """Writes a folder of results; returns it. scores_of: the scores of a run of the last stage. device_of: what trained a
    run. options: of the request."""
    out.mkdir(parents=True, exist_ok=True)
    card_path = tiny.write(out, CARD)
    (out / "task.toml").write_text(task)
    options = {"optimizers": ["adamw", "muon"], **options}
    experiment = resolve(RunRequest(str(card_path), settings=settings, device="cpu", **options))

    def result_of(run: Run) -> Result:
        is_last = run.stage == experiment.card.stages[-1].name
        validation = {"validation_learning": 0.5, "validation_loss": 1.0 - 0.1 * (run.lr == CHOSEN)}
        scores = validation | (scores_of(run) if is_last else {})
        path = path_of(run, scores) if is_last else {}
        return Result(run.id, "ok", scores, path, device=device_of(run), versions={"torch": "2"})

    command = shlex.join(["synthbench", "run", str(card_path), "--optimizer", "adamw,muon", "--quiet"])
    return fill(out, experiment, result_of, command)


def fill(out: Path, experiment: Experiment, result_of: Callable[[Run], Result], command: str) -> Path:
    """Stores a result for every run of an experiment, as runs become ready; returns the folder."""
    with closing(Store.create(out)) as store:
        results = store.results()
        while runs := Plan(experiment, results).ready():
            for run in runs:
                store.keep(run, result_of(run), [], None)
            results = store.results()
        members.enlist(experiment, experiment_id(experiment), store, results)
        tasks = {name: task.fingerprint for name, task in experiment.tasks.items()}
        card_text = experiment.card.model_dump_json(by_alias=True)
        store.record(experiment_id(experiment), card_text, json.dumps(tasks), command, finished=True)
    return out


def latest_report(out: Path) -> Report:
    """The report on a folder."""
    with closing(Store.read(out)) as store:
        return report.latest(store)


def path_of(run: Run, scores: dict[str, float]) -> dict[int, dict[str, float]]:
    """A path with these scores at every point. It reaches fit 0.9 at step 4 at the higher rate, else at step 6."""
    fitted_step = 4 if run.lr > 1e-3 else 6
    return {step: scores | {"fit": fit} for step, fit in ((0, 0.0), (fitted_step, 0.9), (10, 1.0))}


def equal_scores(run: Run) -> dict[str, float]:
    return {"learning": 0.5}
