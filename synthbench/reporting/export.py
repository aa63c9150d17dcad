"""`synthbench export`: one object a run, with its settings, scores, path and provenance; or one line a point of a path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from synthbench.experiment.choice import Choice
from synthbench.experiment.runs import Cell, OptimizerSpec, RunId
from synthbench.reporting.report import Report
from synthbench.reporting.table import COLUMNS, separated
from synthbench.scores import SCORES
from synthbench.store import members
from synthbench.store.results import Store

FORMATS = ("jsonl", "csv", "json", "paths")
POINTS = [name for name, score in SCORES.items() if score.level != "cell"]
ALONG = {name for name, score in SCORES.items() if score.level == "point" and score.is_along}  # in paths
SETTINGS = ("parent", "task", "task_version", "task_fingerprint", "model", "stage", "update", "lr", "weight_decay",
            "examples", "steps", "seed")  # fmt: skip
OF_POINT = ("run", "task", "stage", "optimizer", "trainable", "lr", "weight_decay", "seed")  # beside a score
UNKNOWN = ("pretrain_optimizer", "rows", "axis_values", "chosen", "chosen_by", "edge", "fleet_size", "weights", "versions",
           "device", "started", "seconds")  # of an interrupted run  # fmt: skip


def objects(report: Report, store: Store) -> Iterator[dict[str, Any]]:
    """Every run of an experiment, finished or interrupted, in the order in which they were planned."""
    enlisted, identities = store.members(report.experiment), store.identities()
    results = store.results(enlisted)
    chosen: dict[RunId, dict[str, Choice]] = {}  # by run and row
    for cell, trials in members.cells(report.experiment, store, results).items():
        for run, choice in members.chosen(trials, results).items():
            chosen.setdefault(run, {})[_row(cell)] = choice
    for run in (run for run in enlisted if run in results):
        result, cells, choices = results[run], enlisted[run], chosen.get(run, {})
        yield _settings(run, identities[run]) | {
            "attempt": result.attempt, "status": result.status, "runner": report.card.name,
            "pretrain_optimizer": [*cells[0].base, cells[0].optimizer][0],
            "rows": list(dict.fromkeys(map(_row, cells))), "axis_values": dict(cells[0].point), "chosen": bool(choices),
            "chosen_by": list(choices), "edge": any(choice.edge for choice in choices.values()),
            "fleet_size": result.fleet_size, "split": "test",
            "scores": {name: result.scores.get(name) for name in POINTS},
            "path": [
                {"step": step, "scores": {name: value for name, value in scores.items() if name in ALONG}}
                for step, scores in sorted(result.path.items())
            ],
            "weights": f"weights/{result.weights}" if result.weights else None, "versions": dict(result.versions),
            "device": result.device, "started": result.started, "seconds": round(result.seconds, 3),
        }  # fmt: skip
    for run, attempt, identity in store.interrupted(report.experiment):
        yield _settings(run, identity) | dict.fromkeys(UNKNOWN) | {
            "attempt": attempt, "status": "interrupted", "runner": report.card.name, "split": "test",
            "scores": dict.fromkeys(POINTS), "path": [],
        }  # fmt: skip


def _row(cell: Cell) -> str:
    """A row's base and optimizer, as tables of rows have them: variants may share an optimizer, and even runs."""
    return "/".join([*cell.base, cell.optimizer])


def _settings(run: str, identity: dict[str, Any]) -> dict[str, Any]:
    spec = OptimizerSpec(**identity["optimizer"])
    return {"run": run} | {COLUMNS.get(key, key): identity[key] for key in SETTINGS} | {
        "optimizer": spec.name, "fingerprint": spec.fingerprint, "routing": [list(pair) for pair in spec.routing],
    }  # fmt: skip


def points(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every score at every step of every run, each with the settings that a plot needs."""
    for run in runs:
        settings = {key: run[key] for key in OF_POINT}
        for point in run["path"]:
            for name, value in point["scores"].items():
                yield settings | {"step": point["step"], "score": name, "value": value}


def write(form: str, runs: list[dict[str, Any]]) -> str:
    """As JSON lines, one JSON array, CSV (nested values as JSON, a column for each score), or CSV of the paths' points."""
    if form == "jsonl":
        return "\n".join(json.dumps(run, allow_nan=False) for run in runs)
    if form == "json":
        return json.dumps(runs, indent=1, allow_nan=False)
    if form == "paths":
        return separated([*points(runs)])
    return separated([{key: run[key] for key in run if key not in ("scores", "path")} | run["scores"] for run in runs])
