"""A baseline small enough for tests: the task of `tests.tiny`, one learning rate, six seeds, ten steps."""

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

FULL = """--set 'stages.finetune.update=["full"]'"""  # for a command line: trains a third less


def card(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(tiny.write(folder, RUNNER))


def make_experiment(folder: Path, optimizer: str = "adamw", **request: Any) -> Experiment:
    return to_record(RunRequest(card(folder), [optimizer], device="cpu", **request))


def baseline(folder: Path, optimizer: str = "adamw", **request: Any) -> Baseline:
    """A recorded baseline; its runs are kept in `folder/results`."""
    return record(
        make_experiment(folder, optimizer, **request), options(1, quiet=True, command="a test"), folder / "results"
    )


def with_trace(recorded: Baseline, **changes: Any) -> Baseline:
    return recorded.model_copy(update={"trace": recorded.trace.model_copy(update=changes)})


def with_card(recorded: Baseline, **changes: Any) -> Baseline:
    return recorded.model_copy(update={"card": recorded.card.model_copy(update=changes)})


def check_first_steps(file: Path, optimizer: Any = None) -> list[comparison.Line]:
    """A check of the first three steps of a committed baseline, which takes a tenth of a second."""
    recorded, steps = baselines.read(file), 3
    experiment, _ = to_check(recorded, str(file), optimizer=optimizer)
    runs = [run for run in Plan(experiment, {}).remaining() if run.parent is None]
    with patch.object(traces, "STEPS", steps), patch.object(traces.Plan, "remaining", lambda _: runs):
        after = traces.traces(experiment, recorded.trace.seeds)
    values = {
        trace.name: {what: [row[:steps] for row in rows] for what, rows in recorded.trace.values[trace.name].items()}
        for trace in after
    }
    return comparison.traces(with_trace(recorded, values=values).trace, after)
