"""Trains fleets in the process of the test, for tests of what surrounds training.

The executor is like `synthbench.execution.process_pool.ProcessPool`: it runs the same jobs with the same `worker.answer`,
in sequence and without processes. Tests that need real processes (restored plug-ins, deaths, interrupts, memory) are marked
`processes`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from synthbench.execution.executor import Message, Ready, Slot, TrialJob
from synthbench.execution.fleet_job import Job
from synthbench.execution.worker import answer


class InProcess:
    """An executor whose slots train when their messages are read."""

    def __init__(self, size: int, device: str) -> None:
        self._device = device
        self.slots = [Slot() for _ in range(size)]

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, slot: Slot, job: Job | TrialJob) -> None:
        slot.job, slot.run_steps = job, 0

    def retire(self, slot: Slot) -> None:
        self.slots.remove(slot)

    def restart(self, slot: Slot) -> None:
        raise AssertionError("no slot dies in the process of the test")

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        for slot in list(self.slots):
            if not slot.is_ready:
                slot.is_ready = True
                yield slot, Ready()
            elif slot.job:
                messages: list[Message] = []
                with contextlib.redirect_stdout(sys.stderr):
                    outcome = answer(slot.job, self._device, messages.append)
                for message in (*messages, outcome):
                    yield slot, message
