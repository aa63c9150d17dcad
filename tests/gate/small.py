"""A baseline small enough for tests: `tiny`'s task, one rate, six seeds, ten steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from synthbench.experiment.resolve import Asked
from synthbench.gate import subject
from synthbench.gate.baseline import Baseline
from synthbench.gate.commands import options
from synthbench.gate.record import record
from tests.experiment import tiny

RUNNER = (
    tiny.RUNNER.replace("seeds = 2", "seeds = 6")
    .replace('["fact_recall", "rule_accuracy@fit", "learning"]', '["learning", "loss_forgetting", "kl_new"]')
    .replace("points = 2", 'points = 2\nupdate = ["full", "lora-4"]')
    .replace("lr = [1e-3, 2e-3]", "lr = [2e-3]")
    .replace('schedule = "cosine"', 'schedule = "cosine"\nwarmup = 0.25\nweight_decay = 0.1')
)


def card(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(tiny.write(folder, RUNNER))


def baseline(folder: Path, optimizer: str = "adamw", **asked: Any) -> Baseline:
    """Recorded in this process's folder; its runs stay in `folder/results`."""
    experiment = subject.to_record(Asked(card(folder), [optimizer], device="cpu", **asked))
    return record(experiment, optimizer, replace(options(1, True, "a test"), out=folder / "results"))
