"""Compares the throughput of two ways to train the same runs.

Fleets: worker processes with one thread each. Plain: one process with torch's default number of threads and one
`nn.Module`. Each process waits for `TURN`, prepares, sends `READY`, trains on `GO`, sends `DONE`, finishes and sends
`LEFT`, so that only one way runs at a time.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from synthbench.cards import TaskCard
from synthbench.execution import fleet_job
from synthbench.execution.fleet_job import Job, Recorder, run_fleet
from synthbench.execution.process_pool import ENVIRONMENT, swapped
from synthbench.experiment.runs import Run

WARM_UP = 10  # steps before the timed ones
TURN, READY, GO, DONE, LEFT = "turn", "ready", "go", "done", "left"


class Team:
    """The processes of one way to train. target: the function that they run. tasks: its arguments in each process."""

    def __init__(
        self, target: Callable[..., None], tasks: Sequence[tuple[Any, ...]], environment: AbstractContextManager[None]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        with environment:
            for arguments in tasks:
                ours, theirs = context.Pipe()
                process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)

    def train_round(self) -> float:
        """Trains a round; returns the seconds from `GO` until the last process is done."""
        self._exchange(TURN, READY)
        start = perf_counter()
        self._exchange(GO, DONE)
        seconds = perf_counter() - start
        self._exchange(None, LEFT)
        return seconds

    def _exchange(self, message: str | None, answer: str) -> None:
        """Sends a message to every process and waits for the answer of each."""
        for pipe in self._pipes:
            pipe.send(message)
        for pipe in self._pipes:
            reply = pipe.recv()
            assert reply == answer, reply

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def train_fleets(pipe: Connection, card: TaskCard, runs: list[Run], folder: Path) -> None:
    """Trains fleets as a worker does, but waits before the timed steps and before the last scores."""
    import torch

    torch.set_num_threads(1)

    def on_step(step: int) -> None:
        if step == WARM_UP:
            pipe.send(READY)
            pipe.recv()
        if step == runs[0].steps:
            pipe.send(DONE)
            pipe.recv()

    while pipe.recv() == TURN:
        run_fleet(Job(runs, card, [None] * len(runs), folder, [1] * len(runs)), "cpu", on_step)
        pipe.send(LEFT)


def time_job(job: Job) -> tuple[float, float]:
    """Trains a fleet in a separate process, as a worker does; returns the seconds of scoring and the total."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with swapped(os.environ, ENVIRONMENT):
        process = context.Process(target=train_and_time, args=(theirs, job), daemon=True)
        process.start()
    theirs.close()
    seconds: tuple[float, float] = ours.recv()
    process.join()
    return seconds


def train_and_time(pipe: Connection, job: Job) -> None:
    """Trains a fleet and sends the seconds of scoring and the total.

    Scoring includes evaluation of the fleet at its points, and afterwards scores and the serialization of observations.
    """
    import torch

    torch.set_num_threads(1)
    scoring = list[float]()

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = perf_counter()
            result = function(*arguments)
            scoring.append(perf_counter() - start)
            return result

        return call

    timed_functions = ((Recorder, "__call__"), (fleet_job, "run_scores"), (fleet_job, "to_bytes"))
    for owner, name in timed_functions:
        setattr(owner, name, timed(getattr(owner, name)))
    start = perf_counter()
    run_fleet(job, "cpu")
    assert len(scoring) == job.runs[0].points + 1 + 2 * len(job.runs)
    pipe.send((sum(scoring), perf_counter() - start))


def train_alone(pipe: Connection, card: TaskCard, run: Run, optimizer: str) -> None:
    """The plain loop over torch's optimizers, with the same weights and the same data in the same order."""
    import torch

    from synthbench.cards import ModelCard
    from synthbench.execution.fleet_setup import build, data
    from synthbench.generators import Task
    from synthbench.trainer.schedule import Schedule
    from synthbench.verification import reference

    task, schedule = Task(card), Schedule(run.steps, run.schedule, run.warmup)

    def rates(step: int) -> float:
        return run.lr * schedule.factor(step)

    inputs = data(task, [run])
    warm_up = inputs._replace(order_KTB=inputs.order_KTB[:, :WARM_UP])
    timed = inputs._replace(order_KTB=inputs.order_KTB[:, WARM_UP:])
    weights = build(task, [run], [None], Path(), torch.device("cpu")).member(0)
    while pipe.recv() == TURN:
        model = reference.load(ModelCard.model_validate(run.model), weights, task.language.length - 1)
        optimizers = reference.optimizers(optimizer, model, weight_decay=run.weight_decay)
        reference.train(model, optimizers, warm_up, 0, rates)
        pipe.send(READY)
        pipe.recv()
        reference.train(model, optimizers, timed, 0, rates)
        pipe.send(DONE)
        pipe.recv()
        pipe.send(LEFT)
