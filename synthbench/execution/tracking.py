"""Trackers: finished runs and progress, streamed to a program that draws them. Each needs the extra of its name.

What they write lies below the folder of results, `tensorboard/`, `mlflow/` or `wandb/`; nothing leaves the machine, but
where the environment says so (`WANDB_MODE=online`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice
from synthbench.experiment.runs import Result, Run

MOST_METRICS = 1000  # that MLflow takes at once


class Tracker(Protocol):
    """Something that draws runs."""

    def finished(self, run: Run, result: Result) -> None:
        """A run is kept."""

    def progress(self, done: float, total: float) -> None:
        """So many run-steps are done, of so many."""

    def close(self) -> None: ...


class TensorBoard:
    """`tensorboard --logdir FOLDER/tensorboard`: a folder of events for each run."""

    def __init__(self, folder: Path, experiment: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Callable[[str], Any] = lambda name: SummaryWriter(str(folder / "tensorboard" / experiment / name))
        self._progress = self._writer("progress")

    def finished(self, run: Run, result: Result) -> None:
        with self._writer(name_of(run)) as writer:
            writer.add_text("settings", "\n\n".join(f"{key}: {value}" for key, value in settings(run).items()))
            for step, name, value in points(result):
                writer.add_scalar(name, value, step)

    def progress(self, done: float, total: float) -> None:
        self._progress.add_scalar("progress", done / total, int(done))

    def close(self) -> None:
        self._progress.close()


class MLflow:
    """`mlflow ui --backend-store-uri FOLDER/mlflow`: a run with parameters and metrics by step for each run."""

    def __init__(self, folder: Path, experiment: str) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient, entities

        self._client, self._entities = MlflowClient((folder / "mlflow").absolute().as_uri()), entities
        known = self._client.get_experiment_by_name(experiment)
        self._experiment = known.experiment_id if known else self._client.create_experiment(experiment)
        self._progress = self._client.create_run(self._experiment, run_name="progress").info.run_id

    def finished(self, run: Run, result: Result) -> None:
        made = self._client.create_run(self._experiment, run_name=name_of(run)).info.run_id
        parameters = [self._entities.Param(key, str(value)) for key, value in settings(run).items()]
        self._client.log_batch(made, params=parameters)
        metrics = (self._entities.Metric(metric_name(name), value, 0, step) for step, name, value in points(result))
        while some := list(islice(metrics, MOST_METRICS)):
            self._client.log_batch(made, metrics=some)
        self._client.set_terminated(made, "FINISHED" if result.status == "ok" else "FAILED")

    def progress(self, done: float, total: float) -> None:
        self._client.log_metric(self._progress, "progress", done / total, step=int(done))

    def close(self) -> None:
        self._client.set_terminated(self._progress)


class WandB:
    """`wandb sync FOLDER/wandb/offline-run-*` where it should be seen on a server: a run with its history for each run."""

    def __init__(self, folder: Path, experiment: str) -> None:
        import wandb

        common = {"project": "synthbench", "group": experiment, "dir": folder, "reinit": "create_new"}
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._init: Callable[..., Any] = lambda **of_run: wandb.init(**common, **of_run, mode=mode, settings=quiet)
        self._progress = self._init(name="progress")

    def finished(self, run: Run, result: Result) -> None:
        made = self._init(name=name_of(run), config=dict(settings(run)))
        for step, scores in by_step(result).items():
            made.log(scores, step=step)
        made.finish(exit_code=int(result.status != "ok"))

    def progress(self, done: float, total: float) -> None:
        self._progress.log({"progress": done / total}, step=int(done))

    def close(self) -> None:
        self._progress.finish()


TRACKERS: dict[str, tuple[str, Callable[[Path, str], Tracker]]] = {  # by name: the package that it needs, and what makes it
    "tensorboard": ("tensorboard", TensorBoard), "mlflow": ("mlflow", MLflow), "wandb": ("wandb", WandB),
}  # fmt: skip


def check(name: str) -> None:
    """Raises BadInput for a tracker that is unknown or not installed."""
    check_choice("--track", name, [*TRACKERS])
    try:
        importlib.import_module(TRACKERS[name][0])
    except ModuleNotFoundError:
        raise BadInput(
            f"--track {name} needs its package; install it with: pip install 'synthbench[{name}]'."
        ) from None


def name_of(run: Run) -> str:
    """`wugs/finetune/muon/full/lr-0.001/seed-3-0f3a92c1`: as people look for it, and unique."""
    return f"{run.task}/{run.stage}/{run.optimizer.name}/{run.update}/lr-{run.lr:g}/seed-{run.seed}-{run.id[:8]}"


def settings(run: Run) -> Mapping[str, Any]:
    names = ("task", "stage", "lr", "weight_decay", "update", "steps", "batch", "schedule", "seed", "salt", "parent")
    model = {f"model.{key}": value for key, value in run.model.items()}
    return {"run": run.id, "optimizer": run.optimizer.name, **{name: getattr(run, name) for name in names}, **model}


def by_step(result: Result) -> dict[int, dict[str, float]]:
    """Finite scores along a run's path; at its last step those on all items."""
    path = {step: dict(scores) for step, scores in result.path.items()}
    if path:
        path[max(path)].update(result.scores)
    return {step: {name: value for name, value in path[step].items() if isfinite(value)} for step in sorted(path)}


def points(result: Result) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of every score."""
    for step, scores in by_step(result).items():
        for name, value in scores.items():
            yield step, name, value


def metric_name(name: str) -> str:
    """A score's name of letters that MLflow allows."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)
