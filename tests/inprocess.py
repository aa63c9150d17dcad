"""Fleets trained in the test's own process, where a test is about what surrounds training.

It stands in for `synthbench.execution.process_pool.Crew`: the same jobs, the same `worker._outcome`, one after the other,
without processes of their own. What only real processes can show (plug-ins that are restored, deaths, interrupts, memory) is
marked `processes` and gets them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from synthbench.execution.fleet_job import Job
from synthbench.execution.process_pool import Said
from synthbench.execution.worker import Progress, Ready, _outcome
from synthbench.plugins import Origin


@dataclass
class Worker:
    is_ready: bool = False
    job: Job | None = None
    told: int = 0

    def give(self, job: Job) -> None:
        self.job, self.told = job, 0


class Crew:
    """Workers that train when they are listened to."""

    def __init__(self, size: int, device: str, plugins: Sequence[Origin] = ()) -> None:
        self._device = device
        self.workers = [Worker() for _ in range(size)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)

    def messages(self, seconds: float, wake: int) -> Iterator[tuple[Worker, Said]]:
        for worker in list(self.workers):
            if not worker.is_ready:
                worker.is_ready = True
                yield worker, Ready()
            elif worker.job:
                told: list[Said] = []
                with contextlib.redirect_stdout(sys.stderr):
                    outcome = _outcome(worker.job, self._device, _reporter(told, len(worker.job.runs)))
                for said in (*told, outcome):
                    yield worker, said


def _reporter(told: list[Said], runs: int) -> Callable[[int], None]:
    sent = 0

    def report(step: int) -> None:
        nonlocal sent
        told.append(Progress((step - sent) * runs))
        sent = step

    return report
