"""How long runs take on this machine: a few steps of each kind of fleet, timed in the workers that would train them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from synthbench.common.errors import Failed, SynthbenchError
from synthbench.execution.engine import HERE, Engine
from synthbench.execution.executor import Executor, Ready
from synthbench.execution.fleet_job import Job, Trained
from synthbench.execution.packing import pack
from synthbench.experiment.runs import Run
from synthbench.generators import Task
from synthbench.plugins import origins

BUDGET = 20.0  # seconds of measuring; the kinds that are left then are taken for the mean of the others
FEW, MORE = 4, 16  # steps, whose difference is timed


class Pace(NamedTuple):
    """Seconds of one run of a kind, in a fleet of its usual size: before and after its steps, a step, and an evaluation
    along its path. weights: bytes of the file that it leaves."""

    fixed: float
    step: float
    point: float
    weights: int = 0

    def seconds(self, run: Run) -> float:
        return self.fixed + self.step * (run.steps + run.relearn) + self.point * (run.points - 1)


class Paces(NamedTuple):
    """Of an experiment's kinds of runs; that of a kind which was not measured is the mean of the others. start: seconds
    until workers have started. slots: how many fleets were trained at a time."""

    start: float
    slots: int
    of: Mapping[str, Pace]

    def seconds(self, run: Run) -> float:
        pace = self.of.get(run.kind)
        return pace.seconds(run) if pace else fmean(other.seconds(run) for other in self.of.values())

    def weights(self, run: Run) -> float:
        pace = self.of.get(run.kind)
        return pace.weights if pace else fmean(other.weights for other in self.of.values())


def measure(
    remaining: Sequence[Run], task_of: Callable[[Run], Task], workers: int, fleet_size: int | None = None,
    engine: Engine = HERE,
) -> Paces:  # fmt: skip
    """The paces of these runs where they would be trained, so many fleets at a time. Kinds with most steps go first."""
    kinds: dict[str, list[Run]] = {}
    for run in remaining:
        kinds.setdefault(run.kind, []).append(run)
    order = sorted(kinds.values(), key=lambda runs: -len(runs) * runs[0].steps)
    started = time.monotonic()
    print("A few steps of each kind of run are timed, for at most half a minute.", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory(prefix="synthbench-") as folder,
        engine.executor(workers, remaining[0].environment.device) as executor,
    ):
        _answers(executor, None)
        start = time.monotonic() - started
        slots, paces = len(executor.slots), dict[str, Pace]()
        for runs in order:
            if paces and time.monotonic() - started - start > BUDGET:
                break
            fleet = pack(runs, workers, fleet_size)
            paces[runs[0].kind] = _pace(fleet, task_of(runs[0]), executor, Path(folder))
    return Paces(start, slots, paces)


def _pace(fleet: Sequence[Run], task: Task, executor: Executor, folder: Path) -> Pace:
    """The pace of a fleet, every worker training one like it at the same time, as they will."""

    def trained(steps: int, points: int) -> tuple[float, int]:
        runs = [replace(run, steps=steps, points=points, relearn=0, parent=None) for run in fleet]
        job = Job(
            runs, task.card, [None] * len(runs), folder, [1] * len(runs), origins([runs[0].optimizer.name], [task])
        )
        return _answers(executor, job)

    trained(1, 1)  # what a process does once, it does now
    (few, weights), (more, _), (looked, _) = trained(FEW, 1), trained(MORE, 1), trained(FEW, FEW)
    step = max(0.0, more - few) / (MORE - FEW)
    return Pace(max(0.0, few - FEW * step), step, max(0.0, looked - few) / (FEW - 1), weights)


def _answers(executor: Executor, job: Job | None) -> tuple[float, int]:
    """Gives a job to every slot; returns the mean seconds of a run, and the bytes of its weights. None: waits until all
    have started."""
    left = set(map(id, executor.slots))
    for slot in executor.slots if job else ():
        executor.submit(slot, job)  # type: ignore[arg-type]
    times, weights = list[float](), 0
    while left:
        left &= set(map(id, executor.slots))  # those of a lost node are gone
        for slot, message in executor.messages(1.0):
            if isinstance(message, SynthbenchError):
                raise message
            if isinstance(message, list):
                trained: list[Trained] = message
                times.append(trained[0].result.seconds)
                weights = trained[0].weights.size if trained[0].weights else weights
                slot.job = None
                left.discard(id(slot))
            elif isinstance(message, Ready):
                slot.is_ready = True
                left -= {id(slot)} if job is None else set()
            elif not isinstance(message, int):
                raise Failed(f"A few steps could not be timed: {message!r}.")
    return fmean(times) if times else 0.0, weights
