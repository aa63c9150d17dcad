"""The engine: asks the planner what is next, packs runs into fleets, hands fleets to workers, keeps what comes back."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from synthbench.errors import Failed
from synthbench.experiment.plan import Experiment, Trial, choose, next_runs, walk
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.experiment.store import Store
from synthbench.experiment.training import Job, Trained
from synthbench.experiment.worker import Broken, Progress, serve

# glibc gives blocks over 128 KiB back to the system and asks for them anew at every step, zeroed page by page; these
# make it keep them (measured: 1.2 to 1.4 times the run-steps per second). Read by a process when it starts.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(10**9),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
EXAMPLES_A_STEP = 256  # of a whole fleet on a CPU: more runs than fit this many push activations out of the cache
GPU_EXAMPLES_A_STEP = 4096


class Watcher(Protocol):
    """What an engine tells while it works."""

    def advance(self, run_steps: float) -> None: ...

    def finished(self, run: Run, result: Result) -> None: ...


@dataclass
class Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    told: int = 0  # run-steps of the present job that progress has been told of


@dataclass
class Engine:
    """Runs an experiment to its end. done: finished runs, which grows. attempts: number of the attempt by run."""

    experiment: Experiment
    store: Store
    watcher: Watcher
    jobs: int
    fleet_size: int | None
    done: dict[RunId, Result]
    attempt: int | None = None  # the attempt that `--fresh` makes; None: continue what is there
    _workers: list[Worker] = field(default_factory=list)

    def execute(self) -> None:
        """Trains until the planner has nothing left. On an interrupt the runs under way are noted as interrupted."""
        if not next_runs(self.experiment, self.done):
            return
        try:
            with allocator(), uninterrupted():
                self._workers = [self._start() for _ in range(self._worker_count())]
            while self._assign():
                self._listen()
        except KeyboardInterrupt:
            self._note_interrupted()
            raise
        finally:
            self._stop()

    def _worker_count(self) -> int:
        return 1 if self.experiment.environment.device == "cuda" else self.jobs

    def _start(self) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self.experiment.environment.device), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def _assign(self) -> bool:
        """Gives every idle worker a fleet where there is one; false when nothing is left to do or to wait for."""
        for worker in self._workers:
            if worker.job is None and (runs := self._next_fleet()):
                worker.job, worker.told = self._job(runs), 0
                worker.pipe.send(worker.job)
        return any(worker.job for worker in self._workers)

    def _next_fleet(self) -> list[Run]:
        busy = {run.id for worker in self._workers if worker.job for run in worker.job.runs}
        ready = [run for run in next_runs(self.experiment, self.done) if run.id not in busy]
        return pack(ready, self._worker_count(), self.fleet_size)

    def _job(self, runs: list[Run]) -> Job:
        parents = [self.store.weights / (self.done[run.parent].weights or "") if run.parent else None for run in runs]
        return Job(runs, self.experiment.tasks[runs[0].task].card, parents, self.store.weights, self.attempt or 1)

    def _listen(self) -> None:
        """Waits for one message (or death) and acts on it."""
        by_handle: dict[object, Worker] = {worker.pipe: worker for worker in self._workers}
        by_handle |= {worker.process.sentinel: worker for worker in self._workers}
        for handle in wait([*by_handle]):  # type: ignore[list-item]
            worker = by_handle[handle]
            try:
                while worker.pipe.poll():
                    self._receive(worker, worker.pipe.recv())
            except (EOFError, ConnectionError):
                raise Failed(
                    f"A worker ended with exit code {worker.process.exitcode}; what was finished is kept, and the same "
                    "command goes on from there."
                ) from None

    def _receive(self, worker: Worker, message: Progress | Broken | list[Trained]) -> None:
        assert worker.job is not None
        runs = worker.job.runs
        if isinstance(message, Progress):
            worker.told += message.run_steps
            self.watcher.advance(message.run_steps)
        elif isinstance(message, Broken):
            raise Failed(message.text)
        else:
            for run, trained in zip(runs, message, strict=True):
                self.store.keep(run, *trained)
                self.done[run.id] = trained.result
                self.watcher.finished(run, trained.result)
            self.watcher.advance(sum(run.steps for run in runs) - worker.told)
            worker.job = None

    def _note_interrupted(self) -> None:
        for worker in self._workers:
            for run in worker.job.runs if worker.job else ():
                if run.id not in self.done:
                    self.store.keep(run, Result(run.id, "interrupted", attempt=self.attempt or 1), [], None)

    def _stop(self) -> None:
        """Ends the workers at once: what they have finished has been kept, and files are whole or absent."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()


def pack(ready: Sequence[Run], workers: int, fleet_size: int | None) -> list[Run]:
    """The fleet to train next out of runs that could start.

    Earlier stages go first, for they hold others back; then the kind with most work. Fleets are small enough for every
    worker to have two still to come, so that none idles at the end while another has a long fleet.
    """
    if not ready:
        return []
    kinds: dict[str, list[Run]] = {}
    for run in ready:
        kinds.setdefault(run.kind, []).append(run)
    fleet = min(kinds.values(), key=lambda runs: (len(runs[0].history), -len(runs) * runs[0].steps))
    cuda = fleet[0].environment.device == "cuda"
    most = max(1, (GPU_EXAMPLES_A_STEP if cuda else EXAMPLES_A_STEP) // fleet[0].batch)
    share = len(fleet) if cuda else ceil(len(ready) / (2 * workers))
    return fleet[: fleet_size or max(1, min(most, share))]


@contextmanager
def allocator() -> Iterator[None]:
    """The environment in which workers start: one thread, and memory that is kept."""
    settings = {**ALLOCATOR, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes started here never see Ctrl-C: until they could ignore it, it would make each print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # an interrupt that came meanwhile comes now


def finish(experiment: Experiment, name: str, store: Store, done: Mapping[RunId, Result], keep: str) -> None:
    """Enlists an experiment's runs, marks the rates chosen in each cell, drops the weights that are not to be kept."""
    cells = {cell: [Trial(run.id, run.lr) for run in runs] for cell, runs in walk(experiment, done).cells.items()}
    rates = {run: identity["lr"] for run, identity in store.identities().items()}
    for run, (cell, _, _) in store.members(name).items():  # of earlier commands: other seeds of the same cells
        if run not in {trial.id for trial in cells.get(cell, [])}:
            cells.setdefault(cell, []).append(Trial(run, rates[run]))
    known = {**store.results(paths=False), **done}
    last, members, dropped = experiment.card.stages[-1].name, {}, []
    for cell, trials in cells.items():
        choice = choose(trials, known)
        for trial in trials:
            if trial.id in known:
                chosen = choice is not None and trial.lr == choice.lr
                attempt = known[trial.id].attempt
                members[trial.id] = attempt, cell, chosen, choice is not None and chosen and choice.edge
                if keep == "none" or (keep == "chosen" and not chosen and cell.stage == last):
                    dropped.append((trial.id, attempt))
    store.enlist(name, members)
    store.drop_weights(dropped)
