"""`synthbench export`: one object a run, with its settings, scores, path and provenance; or one line a point of a path."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from synthbench.experiment.choice import Choice
from synthbench.experiment.runs import Cell, OptimizerSpec, RunId
from synthbench.reporting.table import COLUMNS, csv_lines
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


def objects(experiment: str, runner: str, store: Store) -> Iterator[dict[str, Any]]:
    """Every run of an experiment, finished or interrupted, in the order in which they were planned; paths are read one by
    one. runner: the name of its card."""
    enlisted, results, identities = store.known(experiment)
    chosen: dict[RunId, dict[str, Choice]] = {}  # by run and row
    for cell, choices_of_cell in members.cells_of(enlisted, identities, results).chosen.items():
        for run, choice in choices_of_cell.items():
            chosen.setdefault(run, {})[_row(cell)] = choice
    for run in [run for run in enlisted if run in results]:
        result, cells, choices = results.pop(run), enlisted[run], chosen.get(run, {})
        yield _settings(run, identities[run]) | {
            "attempt": result.attempt, "status": result.status, "runner": runner,
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
    for run, attempt, identity in store.interrupted(experiment):
        yield _settings(run, identity) | dict.fromkeys(UNKNOWN) | {
            "attempt": attempt, "status": "interrupted", "runner": runner, "split": "test",
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


def points(runs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every score at every step of every run, each with the settings that a plot needs."""
    for run in runs:
        settings = {key: run[key] for key in OF_POINT}
        for point in run["path"]:
            for name, value in point["scores"].items():
                yield settings | {"step": point["step"], "score": name, "value": value}


def lines(form: str, runs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """As JSON lines, one JSON array, CSV (nested values as JSON, a column for each score), or CSV of the paths' points.
    Runs are written as they come. Of no runs there are no lines: not even an empty one, which would be no JSON."""
    if form == "jsonl":
        return (json.dumps(run, allow_nan=False) for run in runs)
    if form == "json":
        return _array(runs)
    if form == "paths":
        return csv_lines(points(runs))
    return csv_lines({key: run[key] for key in run if key not in ("scores", "path")} | run["scores"] for run in runs)


def _array(runs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """As `json.dumps` with an indent of one writes a list."""
    last = ""
    for run in runs:
        yield f"{last}," if last else "["
        last = textwrap.indent(json.dumps(run, indent=1, allow_nan=False), " ")
    if last:
        yield f"{last}\n]"
