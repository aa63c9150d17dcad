"""Training a fleet: built from its runs, trained through its stage, scored along the path, its weights written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import TaskCard
from synthbench.experiment import identity
from synthbench.experiment.materials import Kept, build, data, write_weights
from synthbench.experiment.runs import Result, Run
from synthbench.generators import Task
from synthbench.scores import Point, at_point

if TYPE_CHECKING:
    from synthbench.experiment.observe import Observer
    from synthbench.trainer.fleet import Fleet

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
    """What came of one run. curve: its thinned training losses, None where they are no numbers."""

    result: Result
    curve: list[float | None]
    kept: Kept | None


def run_fleet(job: Job, device_kind: str, on_step: Callable[[int], None] = lambda step: None) -> list[Trained]:
    """Trains a job's fleet and returns what came of each run, in the job's order."""
    import torch

    from synthbench.experiment.observe import Observer, asked
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule

    began, clock = datetime.now(UTC), time.monotonic()
    first, task = job.runs[0], Task(job.task)
    fleet = build(task, job.runs, job.parents, torch.device(device_kind))
    optimizer = FleetOptimizer(first.rule.name, fleet, first.rule.arguments)
    sets = asked(task, first.stage, first.history, [run.seed for run in job.runs], first.examples)
    record = Record(Observer(fleet, sets), first)
    curve_TK = train(
        optimizer, data(task, job.runs), Schedule(first.steps, first.schedule, first.warmup),
        ([run.lr for run in job.runs], [run.weight_decay for run in job.runs]), points(first), record, on_step,
    )  # fmt: skip
    common = {
        "attempt": job.attempt, "fleet_size": len(job.runs), "seconds": (time.monotonic() - clock) / len(job.runs),
        "started": began.isoformat(timespec="seconds"), "device": identity.device_name(device_kind),
        "versions": identity.versions(),
    }  # fmt: skip
    trained = []
    for k, run in enumerate(job.runs):
        diverged = has_diverged(fleet, curve_TK, k)
        kept = None if diverged else write_weights(job.folder, run, job.attempt, fleet.saved(k))
        status, ends = ("diverged", {}) if diverged else ("ok", record.ends[k])
        result = Result(run.id, status, ends, record.paths[k], weights=kept and kept.name, **common)  # type: ignore[arg-type]
        trained.append(Trained(result, thinned(curve_TK[:, k].tolist()), kept))
    return trained


class Record:
    """Scores along the path of every run of a fleet: called at each point, it looks and scores."""

    def __init__(self, observer: Observer, run: Run) -> None:
        runs = len(observer.fleet)
        self.paths: list[dict[int, dict[str, float]]] = [{} for _ in range(runs)]
        self.ends: list[dict[str, float]] = []
        self._observer, self._sample, self._last = observer, run.sample, run.steps
        self._start: list[Point] = []

    def __call__(self, step: int) -> None:
        if step == 0:
            self._start = self._observer.start(self._sample)
            points = self._sampled(self._start)
        elif step == self._last:
            whole = self._observer.end()
            self.ends = self._scores(whole)
            points = self._sampled(whole)
        else:
            points = self._observer.path(self._sample)
        for path, scores in zip(self.paths, self._scores(points), strict=True):
            path[step] = scores

    def _sampled(self, points: Sequence[Point]) -> list[Point]:
        """What a look on the way would have seen: the first items of every set but validation."""
        return [
            Point(
                {n: s.first(self._sample) for n, s in point.sets.items() if not n.endswith("/validation")}, point.moved
            )
            for point in points
        ]

    def _scores(self, points: Sequence[Point]) -> list[dict[str, float]]:
        """Without infinities: what a diverging run shows is not a number."""
        found = [at_point(before, after) for before, after in zip(self._start, points, strict=True)]
        return [{name: value for name, value in scores.items() if isfinite(value)} for scores in found]


def points(run: Run) -> list[int]:
    """The steps at which a run is scored: its start, and as many more as the card says, evenly."""
    return sorted({round(run.steps * i / run.points) for i in range(run.points + 1)})


def has_diverged(fleet: Fleet, curve_TK: NDArray[np.float32], k: int) -> bool:
    """Whether a run's losses or the norm of its weights are no numbers, or its last losses twice uniform guessing's."""
    import torch

    vocabulary = fleet.layout.parameters["embedding"].shape[0]
    losses = curve_TK[:, k]
    if not (torch.isfinite(fleet.flat_KP[k].detach().norm().square()) and np.isfinite(losses).all()):
        return True
    return bool(losses[-max(1, len(losses) // 10) :].mean() > 2 * log(vocabulary))


def thinned(losses: Sequence[float]) -> list[float | None]:
    """At most CURVE means over equal parts; None for what is no number."""
    parts = min(CURVE, len(losses))
    cuts = [len(losses) * i // parts for i in range(parts + 1)]
    means = [sum(losses[start:stop]) / (stop - start) for start, stop in pairwise(cuts)]
    return [mean if isfinite(mean) else None for mean in means]
