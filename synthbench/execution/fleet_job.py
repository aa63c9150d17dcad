"""Training a fleet: built from its runs, trained through its stage, evaluated along the path, its weights written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import inf, isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import TaskCard
from synthbench.execution.fleet_setup import build, data
from synthbench.experiment import identity
from synthbench.experiment.runs import Result, Run
from synthbench.generators import Task
from synthbench.plugins import Origin
from synthbench.scores import Point, RunObservations, run_scores
from synthbench.store.observations import to_bytes
from synthbench.store.weights import WeightFile, write_weights

if TYPE_CHECKING:
    from torch import Tensor

    from synthbench.execution.observe import Observer
    from synthbench.trainer.fleet import Fleet

EXPLODED = 1000.0  # weights so many times as large as at the start are a divergence, whatever the loss
CURVE = 100  # training losses kept of a run: means over so many equal parts of its steps


@dataclass(frozen=True)
class Job:
    """A fleet to train. parents: the weights of each run's parent, None from scratch. folder: of weight files. plugins: the
    code that it needs."""

    runs: list[Run]
    task: TaskCard
    parents: list[WeightFile | None]
    folder: Path
    attempts: list[int]
    plugins: Sequence[Origin] = ()


class Trained(NamedTuple):
    """The outcome of one run. curve: its thinned training losses, None where NaN or infinite. weights: their file, None
    where it diverged. observations: as bytes, see `store/observations.py`."""

    result: Result
    curve: list[float | None]
    weights: WeightFile | None
    observations: bytes


def run_fleet(job: Job, device_kind: str, on_step: Callable[[int], None] = lambda step: None) -> list[Trained]:
    """Trains a job's fleet and returns the outcome of each run, in the job's order."""
    import torch

    from synthbench.execution.observe import Observer, item_sets
    from synthbench.execution.relearning import relearn
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule

    began, clock = datetime.now(UTC), time.monotonic()
    first, task = job.runs[0], Task(job.task)
    fleet = build(task, job.runs, job.parents, job.folder, torch.device(device_kind))
    start_K = fleet.flat_KP.detach().norm(dim=1)
    optimizer = FleetOptimizer(first.optimizer.name, fleet, first.optimizer.arguments, first.optimizer.routing)
    sets = item_sets(task, first.stage, first.history, [run.seed for run in job.runs], first.examples)
    recorder = Recorder(Observer(fleet, sets), first)
    curve_TK = train(
        optimizer, data(task, job.runs), Schedule(first.steps, first.schedule, first.warmup),
        ([run.lr for run in job.runs], [run.weight_decay for run in job.runs]), points(first), recorder, on_step,
    )  # fmt: skip
    common = {
        "fleet_size": len(job.runs), "seconds": (time.monotonic() - clock) / len(job.runs),
        "started": began.isoformat(timespec="seconds"), "device": identity.device_name(device_kind, first.environment.path),
        "versions": identity.versions(),
    }  # fmt: skip
    observed_K = relearn(task, fleet, job.runs, [recorder.observations(k) for k in range(len(job.runs))])
    trained = []
    for k, (run, attempt, observed) in enumerate(zip(job.runs, job.attempts, observed_K, strict=True)):
        diverged = has_diverged(fleet, start_K, curve_TK, k)
        weights = None if diverged else write_weights(job.folder, run, attempt, fleet.saved(k))
        path, ends = run_scores(observed)
        status, ends = ("diverged", {}) if diverged else ("ok", ends)
        result = Result(run.id, status, ends, path, attempt, weights and weights.name, **common)  # type: ignore[arg-type]
        trained.append(Trained(result, thinned(curve_TK[:, k].tolist()), weights, to_bytes(observed)))
    return trained


class Recorder:
    """Evaluates every run of a fleet along its path: called at each point with the step.

    The two points between which a run's fit first reaches one of its levels have the larger sample. That the earlier one
    is of them shows only at the later one, so the fleet's buffer is kept from one point to the next.
    """

    def __init__(self, observer: Observer, run: Run) -> None:
        self._observer, self._run = observer, run
        self._points: dict[int, list[Point]] = {}
        self._best_K = [inf] * len(observer.fleet)  # the highest fit so far
        self._previous: tuple[int, Tensor] | None = None  # the point before, and the buffer then
        self._enlarged: set[tuple[int, int]] = set()  # step and row of the points with the larger sample

    def __call__(self, step: int) -> None:
        run, observer = self._run, self._observer
        if step == 0:
            self._points[0] = observer.start(run.bracket_sample)
        elif step == run.steps:
            self._points[step] = observer.end()
        else:
            self._points[step] = observer.path(run.sample, run.bracket_sample)
        now = step, observer.fleet.flat_KP.detach()
        fit_K = [observer.fit(point, run.bracket_sample) for point in self._points[step]]
        crossed = [k for k, (best, fit) in enumerate(zip(self._best_K, fit_K, strict=True))
                   if any(best < level <= fit for level in run.levels)]  # fmt: skip
        for at in (self._previous, now) if self._previous else ():
            self._enlarge(*at, crossed)
        self._best_K = fit_K if step == 0 else [*map(max, self._best_K, fit_K)]
        self._previous = step, now[1].clone()

    def _enlarge(self, step: int, flat_KP: Tensor, rows: Sequence[int]) -> None:
        """Adds to a point of these rows what the larger sample has beyond the other; start and end have it already."""
        run = self._run
        if rows := [k for k in rows if 0 < step < run.steps and (step, k) not in self._enlarged]:
            rest = self._observer.rest(run.sample, run.bracket_sample, rows, flat_KP)
            for k, more in zip(rows, rest, strict=True):
                point = self._points[step][k]
                sets = {name: items.then(more[name]) if name in more else items for name, items in point.sets.items()}
                self._points[step][k] = point._replace(sets=sets)
                self._enlarged.add((step, k))

    def observations(self, k: int) -> RunObservations:
        """The observations of one run, after its last step."""
        points, steps = {step: points_K[k] for step, points_K in self._points.items()}, self._run.steps
        return RunObservations(points.pop(0), points, points.pop(steps), self._run.bracket_sample, steps)


def points(run: Run) -> list[int]:
    """The steps at which a run is evaluated: its start, and as many more as the card says, evenly."""
    return sorted({round(run.steps * i / run.points) for i in range(run.points + 1)})


def has_diverged(fleet: Fleet, start_K: Tensor, curve_TK: NDArray[np.float32], k: int) -> bool:
    """Whether a run's losses or weights are NaN or infinite, its last losses twice those of uniform guessing, or its
    weights EXPLODED times as large as at the start (normalization hides that from the loss). start_K: norms then."""
    import torch

    vocabulary = fleet.layout.parameters["embedding"].shape[0]
    losses = curve_TK[:, k]
    norm = fleet.flat_KP[k].detach().norm()
    if not (torch.isfinite(norm.square()) and np.isfinite(losses).all()) or norm > EXPLODED * start_K[k]:
        return True
    return bool(losses[-max(1, len(losses) // 10) :].mean() > 2 * log(vocabulary))


def thinned(losses: Sequence[float]) -> list[float | None]:
    """At most CURVE means over equal parts; None for NaN and infinity."""
    parts = min(CURVE, len(losses))
    cuts = [len(losses) * i // parts for i in range(parts + 1)]
    means = [sum(losses[start:stop]) / (stop - start) for start, stop in pairwise(cuts)]
    return [mean if isfinite(mean) else None for mean in means]
