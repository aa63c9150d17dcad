"""The local executor: a pool of worker processes, started, replaced and listened to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, NamedTuple

from synthbench.execution.executor import Died, Message, Slot, TrialJob
from synthbench.execution.fleet_job import Job
from synthbench.execution.worker import serve

# glibc gives blocks over 128 KiB back to the system and asks for them anew at every step, zeroed page by page; these
# make it keep them (measured: 1.2 to 1.4 times the run-steps per second). Read by a process when it starts.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(10**9),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
# One thread. A fresh interpreter would look for its own modules in the working directory first, were it not told so. A
# plug-in's torch.compile does nothing: it chooses kernels by the clock, so that a run would differ from its repetition.
ENVIRONMENT = {
    **ALLOCATOR, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", "TORCHDYNAMO_DISABLE": "1",
}  # fmt: skip


PRELOADED = ["synthbench.execution.preload"]


class Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


class ProcessPool:
    """Worker processes for a kind of device, one a slot. Implements `Executor`."""

    def __init__(self, size: int, device: str) -> None:
        self._device = device
        self._workers: dict[Slot, Worker] = {}
        for _ in range(size):
            self._workers[Slot()] = self._start()

    @property
    def slots(self) -> list[Slot]:
        return list(self._workers)

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers at once: what they have finished has been kept, and files are complete or absent."""
        for worker in self._workers.values():
            worker.process.kill()
        for slot in self.slots:
            self.retire(slot)

    def submit(self, slot: Slot, job: Job | TrialJob) -> None:
        if slot.plugins and slot.plugins != job.plugins:
            self.restart(slot)
        slot.job, slot.run_steps, slot.plugins = job, 0, job.plugins
        with suppress(OSError):  # its death is the next message
            self._workers[slot].pipe.send(job)

    def retire(self, slot: Slot) -> None:
        worker = self._workers.pop(slot)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    def restart(self, slot: Slot) -> None:
        self.retire(slot)
        self._workers[slot] = self._start()
        slot.is_ready, slot.plugins = False, ()

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        handles: dict[object, Slot] = {worker.pipe: slot for slot, worker in self._workers.items()}
        handles |= {worker.process.sentinel: slot for slot, worker in self._workers.items()}
        signalled = {handles[h]: self._workers[handles[h]] for h in wait([*handles], seconds)}  # type: ignore[list-item]
        for slot, worker in signalled.items():
            try:
                while not worker.pipe.closed and worker.pipe.poll():  # a message may have made the slot retire
                    yield slot, worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(1)
                yield slot, Died(worker.process.exitcode)

    def _start(self) -> Worker:
        try:
            return self._started(forking())
        except (EOFError, OSError):  # the server is dead, of an import perhaps, of which a worker's own death tells
            return self._started(multiprocessing.get_context("spawn"))

    def _started(self, context: BaseContext) -> Worker:
        ours, theirs = context.Pipe()
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=serve, args=(theirs, self._device, dict(os.environ | ENVIRONMENT)), daemon=True
        )
        # no main module: a script may call us without guarding its lines, and what workers need of it comes by value
        no_main = {"__main__": ModuleType("__main__")}
        with swapped(os.environ, ENVIRONMENT), swapped(sys.modules, no_main), uninterrupted():
            process.start()
        theirs.close()
        return Worker(process, ours)


def forking() -> BaseContext:
    """How workers are started: forked by a server that has imported torch once for all of them; where there is no such
    thing, each as a program of its own."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def swapped(mapping: MutableMapping[str, Any], values: Mapping[str, Any]) -> Iterator[None]:
    """Within, a mapping has these values."""
    before = {name: mapping.get(name) for name in values}
    mapping.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del mapping[name]
            else:
                mapping[name] = value


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes started here see no Ctrl-C: until they could ignore it, it would make each print a traceback."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    resource_tracker.ensure_running()  # its own start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # an interrupt that came meanwhile comes now
