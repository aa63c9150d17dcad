"""A task card, a runner card and a model that are small enough for tests."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.common import overrides
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest, resolve

TASK = """
name = "tiny-task"
version = "1.0"
question = "Does it work?"
description = "256 names."
source = "none"
language = { syllables = 16, name_length = 2 }
held_out = { validation = 16, test = 32 }

[stages.pretrain]
fact = { generator = "facts", word = "owns", items = 24, share = 1 }
rule = { generator = "inflection", word = "past", shifts = [3, 5], items = 72, share = 3 }

[stages.finetune]
fact = { generator = "facts", word = "owns", items = 12, share = 1 }
rule = { generator = "inflection", word = "past", shifts = [7], items = 36, share = 3 }
"""

RUNNER = """
name = "tiny-runner"
version = "1.0"
question = "Does it work?"
cost = "nothing"
tasks = [TASK]
model = { width = 16, layers = 1, head_width = 8 }
optimizers = ["adamw"]
seeds = 2
columns = ["fact_recall", "rule_accuracy@fit", "learning"]
reading = { fit = 0.9, target_steps = [4, 5], target_step = 5, sample = 8, bracket_sample = 16 }

[[stages]]
name = "pretrain"
steps = 12
batch = 16
schedule = "cosine"
lr = [1e-3]

[[stages]]
name = "finetune"
steps = 10
batch = 16
schedule = "constant"
points = 2
lr = [1e-3, 2e-3]

[scales.large]
seeds = 5
"stages.finetune.steps" = 20
"""


def axis(path: str, values: Sequence[Any]) -> str:
    """A card's only axis, as `--set` takes it."""
    return f"axes=[{{path='{path}', values={list(values)}}}]"


def task_card(changes: Mapping[str, Any] | None = None) -> TaskCard:
    """The task card, with values set at dotted paths."""
    content = tomllib.loads(TASK)
    for path, value in (changes or {}).items():
        overrides.put(content, path.split("."), value, "the test")
    return cards.parse(TaskCard, content, "tiny.toml")


def write(folder: Path, runner: str = RUNNER) -> Path:
    """Writes both cards; returns the path of the runner card."""
    (folder / "task.toml").write_text(TASK)
    (folder / "runner.toml").write_text(runner.replace("TASK", repr(str(folder / "task.toml"))))
    return folder / "runner.toml"


def experiment(folder: Path, *settings: str, **options: Any) -> Experiment:
    """The experiment of the runner card, with `--set` settings and other options."""
    return resolve(RunRequest(str(write(folder)), settings=settings, device="cpu", **options))
