"""Stops workers before they finetune; Python runs it at its start if this folder is on PYTHONPATH. See `program.Gate`."""

import os
import sys
import time
from pathlib import Path
from typing import Any

if "forkserver" in "".join(sys.orig_argv):
    from synthbench.generators import Task

    gate, draw = Path(os.environ["GATE"]), Task.draw

    def draw_when_open(task: Task, stage: str, *arguments: Any) -> Any:
        """Draws a task's data; data of finetuning only after the gate is opened."""
        if stage == "finetune":
            gate.with_suffix(".reached").touch()
            while gate.exists():
                time.sleep(0.01)
        return draw(task, stage, *arguments)

    Task.draw = draw_when_open  # type: ignore[method-assign]
