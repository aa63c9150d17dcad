"""A race over the same runs: synthbench's way, worker processes of one thread that train fleets, and the plain way, one
process in which torch takes the threads it likes and trains one `nn.Module`. A racer waits without a sound for its turn,
readies itself, trains on `GO`, says so, and clears the track, so that at any time one side alone is at work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from synthbench.cards import TaskCard
from synthbench.execution import fleet_job
from synthbench.execution.fleet_job import Job, Recorder, run_fleet
from synthbench.execution.process_pool import environment
from synthbench.experiment.runs import Run

WARM = 10  # steps before the start, not timed
TURN, READY, GO, DONE, LEFT = "turn", "ready", "go", "done", "left"


class Team:
    """The processes of one way to train. racer: what they run. tasks: its arguments in each process."""

    def __init__(
        self, racer: Callable[..., None], tasks: Sequence[tuple[Any, ...]], environment: AbstractContextManager[None]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        with environment:
            for arguments in tasks:
                ours, theirs = context.Pipe()
                process = context.Process(target=racer, args=(theirs, *arguments), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)

    def race(self) -> float:
        """Trains a round; returns the seconds from `GO` until the last process is done."""
        self._exchange(TURN, READY)
        start = perf_counter()
        self._exchange(GO, DONE)
        seconds = perf_counter() - start
        self._exchange(None, LEFT)
        return seconds

    def _exchange(self, message: str | None, answer: str) -> None:
        """Tells every process something, and waits until each has answered."""
        for pipe in self._pipes:
            pipe.send(message)
        for pipe in self._pipes:
            heard = pipe.recv()
            assert heard == answer, heard

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def train_fleets(pipe: Connection, card: TaskCard, runs: list[Run], folder: Path) -> None:
    """What a worker does with its job, stopped at the start and before its last scores."""
    import torch

    torch.set_num_threads(1)

    def on_step(step: int) -> None:
        if step == WARM:
            pipe.send(READY)
            pipe.recv()
        if step == runs[0].steps:
            pipe.send(DONE)
            pipe.recv()

    while pipe.recv() == TURN:
        run_fleet(Job(runs, card, [None] * len(runs), folder, [1] * len(runs)), "cpu", on_step)
        pipe.send(LEFT)


def spent(job: Job) -> tuple[float, float]:
    """Trains a fleet as a worker does, in a process of its own; returns the seconds of scoring, and of all."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with environment():
        process = context.Process(target=train_and_time, args=(theirs, job), daemon=True)
        process.start()
    theirs.close()
    found: tuple[float, float] = ours.recv()
    process.join()
    return found


def train_and_time(pipe: Connection, job: Job) -> None:
    """Scoring is all that a training run does at its points, looking at the fleet, and after it: scores of what was seen,
    and that packed for keeping."""
    import torch

    torch.set_num_threads(1)
    scoring = list[float]()

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = perf_counter()
            found = function(*arguments)
            scoring.append(perf_counter() - start)
            return found

        return call

    parts = ((Recorder, "__call__"), (fleet_job, "run_scores"), (fleet_job, "to_bytes"))
    for owner, name in parts:
        setattr(owner, name, timed(getattr(owner, name)))
    start = perf_counter()
    run_fleet(job, "cpu")
    assert len(scoring) == job.runs[0].points + 1 + 2 * len(job.runs)
    pipe.send((sum(scoring), perf_counter() - start))


def train_alone(pipe: Connection, card: TaskCard, run: Run, optimizer: str) -> None:
    """The plain loop over torch's own optimizers, from the same weights over the same data in the same order."""
    import torch

    from synthbench.cards import ModelCard
    from synthbench.execution.fleet_setup import build, data
    from synthbench.generators import Task
    from synthbench.trainer.schedule import Schedule
    from synthbench.verification import reference

    task, schedule = Task(card), Schedule(run.steps, run.schedule, run.warmup)

    def rates(step: int) -> float:
        return run.lr * schedule.factor(step)

    shown = data(task, [run])
    warm, timed = (shown._replace(order_KTB=shown.order_KTB[:, part]) for part in (slice(WARM), slice(WARM, None)))
    weights = build(task, [run], [None], Path(), torch.device("cpu")).member(0)
    while pipe.recv() == TURN:
        model = reference.load(ModelCard.model_validate(run.model), weights, task.language.length - 1)
        moving = reference.optimizers(optimizer, model)
        reference.train(model, moving, warm, 0, rates, run.weight_decay)
        pipe.send(READY)
        pipe.recv()
        reference.train(model, moving, timed, 0, rates, run.weight_decay)
        pipe.send(DONE)
        pipe.recv()
        pipe.send(LEFT)
