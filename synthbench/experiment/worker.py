"""A worker trains fleets, one after the other, in a process of its own with one thread; it dies with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path
from typing import NamedTuple

from synthbench.cards import TaskCard
from synthbench.experiment.materials import Kept, build, data, write_weights
from synthbench.experiment.runs import Result, Run

CURVE = 100  # training losses kept of a run: means over so many equal parts of its steps


@dataclass(frozen=True)
class Job:
    """A fleet to train. parents: the weight file of each run's parent, None from scratch. folder: for weight files."""

    runs: list[Run]
    task: TaskCard
    parents: list[Path | None]
    folder: Path
    attempt: int


class Trained(NamedTuple):
    """What a worker sends back of one run."""

    result: Result
    curve: list[float]
    kept: Kept | None


class Progress(NamedTuple):
    run_steps: int  # trained since the last message


class Broken(NamedTuple):
    text: str  # the traceback


def serve(pipe: Connection, device: str) -> None:
    """Reads jobs from the pipe until None comes; answers with Progress messages, then a list of Trained, or Broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what an interrupt means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while (job := pipe.recv()) is not None:
        try:
            pipe.send(run_fleet(job, device, _reporter(pipe, len(job.runs))))
        except Exception:
            pipe.send(Broken(traceback.format_exc()))


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _reporter(pipe: Connection, runs: int, every: float = 0.2) -> Callable[[int], None]:
    last, sent = time.monotonic(), 0

    def report(step: int) -> None:
        nonlocal last, sent
        if time.monotonic() - last > every:
            pipe.send(Progress((step - sent) * runs))
            last, sent = time.monotonic(), step

    return report


def run_fleet(job: Job, device_kind: str, on_step: Callable[[int], None] = lambda step: None) -> list[Trained]:
    """Trains a fleet through its stage, scores it along the path, writes its weights."""
    import torch

    from synthbench.experiment import identity
    from synthbench.experiment.observe import Observer, asked
    from synthbench.generators import Task
    from synthbench.scores import Point, at_point
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimize import Moving
    from synthbench.trainer.schedule import Schedule

    began, clock = datetime.now(UTC), time.monotonic()
    first, device = job.runs[0], torch.device(device_kind)
    task, runs = Task(job.task), job.runs
    fleet = build(task, runs, job.parents, device)
    moving = Moving(first.rule.name, fleet, first.rule.arguments)
    observer = Observer(fleet, asked(task, first.stage, first.history, [run.seed for run in runs], first.examples))
    paths: list[dict[int, dict[str, float]]] = [{} for _ in runs]
    ends: list[dict[str, float]] = []
    start: list[Point] = []

    def on_point(step: int) -> None:
        if step == 0:
            start.extend(observer.start(first.sample))
        for path, before, after in zip(paths, start, observer.path(first.sample), strict=True):
            path[step] = finite(at_point(before, after))
        if step == first.steps:
            ends.extend(finite(at_point(*pair)) for pair in zip(start, observer.end(), strict=True))

    at_steps = sorted({round(first.steps * i / first.points) for i in range(first.points + 1)})
    curve_TK = train(
        fleet, moving, data(task, runs), Schedule(first.steps, first.schedule, first.warmup),
        ([run.lr for run in runs], [run.weight_decay for run in runs]), at_steps, on_point, on_step,
    )  # fmt: skip
    sound = torch.isfinite(fleet.flat_KP).all(1).tolist()
    seconds, found = (time.monotonic() - clock) / len(runs), identity.versions()
    device_name, trained = identity.device_name(device_kind), []
    for k, run in enumerate(runs):
        ok = sound[k] and isfinite(float(curve_TK[:, k].sum()))
        kept = write_weights(job.folder, run, job.attempt, fleet.saved(k)) if ok else None
        result = Result(
            run.id, "ok" if ok else "diverged", ends[k] if ok else {}, paths[k], job.attempt,
            kept.name if kept else None, len(runs), seconds, began.isoformat(timespec="seconds"), device_name, found,
        )  # fmt: skip
        trained.append(Trained(result, thinned(curve_TK[:, k].tolist()), kept))
    return trained


def finite(scores: dict[str, float]) -> dict[str, float]:
    """Scores without infinities: what a diverging run shows is not a number."""
    return {name: value for name, value in scores.items() if isfinite(value)}


def thinned(losses: list[float]) -> list[float]:
    """At most CURVE means over equal parts."""
    cuts = [len(losses) * i // CURVE for i in range(CURVE + 1)] if len(losses) > CURVE else list(range(len(losses) + 1))
    return [sum(losses[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:], strict=False)]
