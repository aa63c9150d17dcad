"""The batch that fits in memory where a single run does not: smaller ones are tried, one step each."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from synthbench.common.errors import SynthbenchError
from synthbench.execution.executor import Ready
from synthbench.execution.fleet_job import Job
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.process_pool import ProcessPool
from synthbench.experiment.runs import Run
from synthbench.generators import Task
from synthbench.plugins import origins


def what_fits(run: Run, task: Task, interrupt: Interrupt) -> str:
    """A sentence that says which batch fits; raises KeyboardInterrupt when interrupted."""
    unit = sum(part.share for part in task.card.stages[run.stage].values())
    batch = run.batch // 2 // unit * unit
    while batch and not _fits(replace(run, batch=batch), task, interrupt):
        batch = batch // 2 // unit * unit
    problem = f"A run of stage {run.stage} does not fit in memory with batch = {run.batch}"
    if batch:
        return f"{problem}; a batch of {batch} does: --set stages.{run.stage}.batch={batch}"
    return f"{problem}, nor with any smaller one; take a smaller model, such as --set model=tiny."


def _fits(run: Run, task: Task, interrupt: Interrupt) -> bool:
    """Whether one step of a run, from fresh weights, can be made and scored by a separate worker."""
    run = replace(run, steps=1, points=1, parent=None)
    with (
        tempfile.TemporaryDirectory(prefix="synthbench-") as folder,
        ProcessPool(1, run.environment.device) as pool,
    ):
        while not interrupt:
            for slot, message in pool.messages(1.0):
                if isinstance(message, Ready):
                    plugins = origins([run.optimizer.name], [task])
                    pool.submit(slot, Job([run], task.card, [None], Path(folder), [1], plugins))
                elif isinstance(message, SynthbenchError):
                    raise message
                elif not isinstance(message, int):
                    return isinstance(message, list)
    raise KeyboardInterrupt
