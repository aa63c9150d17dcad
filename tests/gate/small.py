"""A baseline small enough for tests: `tiny`'s task, one rate, six seeds, ten steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import baseline as baselines
from synthbench.gate import comparison, traces
from synthbench.gate.baseline import Baseline
from synthbench.gate.check import to_check
from synthbench.gate.commands import options
from synthbench.gate.record import record, to_record
from tests import tiny

RUNNER = (
    tiny.RUNNER.replace("seeds = 2", "seeds = 6")
    .replace('["fact_recall", "rule_accuracy@fit", "learning"]', '["learning", "loss_forgetting", "kl_new"]')
    .replace("points = 2", 'points = 2\nupdate = ["full", "lora-4"]')
    .replace("lr = [1e-3, 2e-3]", "lr = [2e-3]")
    .replace('schedule = "cosine"', 'schedule = "cosine"\nwarmup = 0.25\nweight_decay = 0.1')
)

FULL = """--set 'stages.finetune.update=["full"]'"""  # on a command line: a third less to train


def card(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(tiny.write(folder, RUNNER))


def experiment(folder: Path, optimizer: str = "adamw", **asked: Any) -> Experiment:
    return to_record(RunRequest(card(folder), [optimizer], device="cpu", **asked))


def baseline(folder: Path, optimizer: str = "adamw", **asked: Any) -> Baseline:
    """Recorded in this process's folder; its runs stay in `folder/results`."""
    return record(experiment(folder, optimizer, **asked), options(1, True, "a test"), folder / "results")


def with_trace(found: Baseline, **changes: Any) -> Baseline:
    return found.model_copy(update={"trace": found.trace.model_copy(update=changes)})


def with_card(found: Baseline, **changes: Any) -> Baseline:
    return found.model_copy(update={"card": found.card.model_copy(update=changes)})


def begun(file: Path, optimizer: Any = None) -> list[comparison.Line]:
    """A committed baseline's first three steps, taken again: a check of a tenth of a second."""
    found, steps = baselines.read(file), 3
    own, _ = to_check(found, str(file), optimizer=optimizer)
    runs = [run for run in Plan(own, {}).remaining() if run.parent is None]
    with patch.object(traces, "STEPS", steps), patch.object(traces.Plan, "remaining", lambda _: runs):
        after = traces.traces(own, found.trace.seeds)
    values = {one.name: {what: [row[:steps] for row in rows] for what, rows in found.trace.values[one.name].items()}
              for one in after}  # fmt: skip
    return comparison.traces(with_trace(found, values=values).trace, after)
