"""The crew: worker processes, started and replaced, and what they say."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import NamedTuple

from synthbench.execution.fleet_job import Job
from synthbench.execution.worker import Outcome, Progress, Ready, serve
from synthbench.plugins import Origin

# glibc gives blocks over 128 KiB back to the system and asks for them anew at every step, zeroed page by page; these
# make it keep them (measured: 1.2 to 1.4 times the run-steps per second). Read by a process when it starts.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(10**9),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
# One thread. A fresh interpreter would look for its own modules in the working directory first, were it not told so.
ENVIRONMENT = {**ALLOCATOR, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


class Died(NamedTuple):
    exitcode: int | None  # negative: the signal that killed it


Said = Ready | Progress | Outcome | Died


@dataclass
class Worker:
    process: SpawnProcess
    pipe: Connection
    is_ready: bool = False
    job: Job | None = None
    told: int = 0  # run-steps of the present job that progress has been told of

    def give(self, job: Job) -> None:
        self.job, self.told = job, 0
        with suppress(OSError):  # where it has died, that is heard of next
            self.pipe.send(job)


class Crew:
    """Worker processes for a kind of device, which know these plug-ins. Use it as a context: they are killed at its end."""

    def __init__(self, size: int, device: str, plugins: Sequence[Origin] = ()) -> None:
        self._device, self._plugins = device, tuple(plugins)
        self.workers: list[Worker] = []
        with environment(), uninterrupted():
            self.workers += [Worker(*self._start()) for _ in range(size)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers at once: what they have finished has been kept, and files are whole or absent."""
        for worker in self.workers:
            worker.process.kill()
        while self.workers:
            self.dismiss(self.workers[0])

    def dismiss(self, worker: Worker) -> None:
        """Ends a worker for good."""
        self.workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    def replace(self, worker: Worker) -> None:
        """Puts a fresh process in the place of one that died."""
        self.dismiss(worker)
        with environment(), uninterrupted():
            worker.process, worker.pipe = self._start()
            worker.is_ready = False
        self.workers.append(worker)

    def messages(self, seconds: float, wake: int) -> Iterator[tuple[Worker, Said]]:
        """What workers say within this time, or until the file descriptor `wake` can be read."""
        by_handle: dict[object, Worker] = {worker.pipe: worker for worker in self.workers}
        by_handle |= {worker.process.sentinel: worker for worker in self.workers}
        heard = {id(by_handle[h]): by_handle[h] for h in wait([*by_handle, wake], seconds) if h in by_handle}  # type: ignore[list-item]
        for worker in heard.values():
            try:
                while not worker.pipe.closed and worker.pipe.poll():  # it may be dismissed for what it said
                    yield worker, worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(1)
                yield worker, Died(worker.process.exitcode)

    def _start(self) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._device, self._plugins), daemon=True)
        with without_main():
            process.start()
        theirs.close()
        return process, ours


@contextmanager
def environment() -> Iterator[None]:
    """The environment in which workers start."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def without_main() -> Iterator[None]:
    """Processes started here do not run the main script again: a script may call us without guarding its lines, and what
    workers need of it comes by value."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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
