"""The engine: asks the planner what is next, packs runs into fleets, hands fleets to workers, keeps what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from synthbench.common.errors import BadInput, Failed
from synthbench.common.wording import named
from synthbench.execution.fleet_job import Job, Trained
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.memory_probe import what_fits
from synthbench.execution.packing import pack
from synthbench.execution.process_pool import Crew, Died, Said, Worker
from synthbench.execution.worker import Broken, LostWeights, NoMemory, Progress, Ready, Refused, Unwritable
from synthbench.experiment.plan import Experiment, forecast, next_runs, walk
from synthbench.experiment.runs import Cell, Result, Run, RunId
from synthbench.generators import Task
from synthbench.plugins import made_with, origins
from synthbench.store.leases import Leases
from synthbench.store.results import Store

LOOK = 0.5  # seconds between looks at what other processes have done
DEATHS = 3  # of workers on one run alone, or while they start, after which it is given up
LOSSES = 3  # of a parent's weights, after which it is not trained once more


class Watcher(Protocol):
    """What an engine tells while it works."""

    def advance(self, run_steps: float) -> None: ...

    def finished(self, run: Run, result: Result) -> None: ...

    def expect(self, coming: Sequence[Run]) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass
class Engine:
    """Runs an experiment to its end, and notes it and its runs' cells in the store under its name.

    done: finished runs, which grows. attempt: the one that `--fresh` makes, None to continue what is there. trained,
    trained_steps: runs, and run-steps of them, that this process has trained.
    """

    experiment: Experiment
    name: str
    leases: Leases
    watcher: Watcher
    interrupt: Interrupt
    jobs: int
    fleet_size: int | None
    done: dict[RunId, Result]
    attempt: int | None = None
    trained: int = 0
    trained_steps: int = 0
    _attempts: dict[RunId, int] = field(default_factory=dict)
    _cells: dict[RunId, list[Cell]] = field(default_factory=dict)
    _limits: dict[str, int] = field(default_factory=dict)  # the most runs of a kind that fit in memory
    _deaths: Counter[RunId] = field(default_factory=Counter)
    _losses: Counter[RunId] = field(default_factory=Counter)
    _expected: set[RunId] = field(default_factory=set)
    _failed_starts: int = 0
    _has_waited: bool = False

    @property
    def store(self) -> Store:
        return self.leases.store

    def execute(self) -> None:
        """Trains until the planner has nothing left. On an interrupt the runs under way are noted as interrupted."""
        if not next_runs(self.experiment, self.done):
            return
        self._attempts = self.store.attempts()
        self.store.database.stop = lambda: bool(self.interrupt)
        plugins = origins((spec.name for spec in self.experiment.optimizers.values()), self.experiment.tasks.values())
        with Crew(self.jobs, self.experiment.environment.device, plugins) as crew:
            while self._assign(crew):
                for worker, message in crew.messages(LOOK, self.interrupt.wake):
                    self._receive(worker, message, crew)
                self.leases.beat()
                if self.interrupt:
                    self._note_interrupted(crew)
                    raise KeyboardInterrupt

    def _assign(self, crew: Crew) -> bool:
        """Gives every idle worker a fleet where there is one; false when nothing is left to do or to wait for."""
        for worker in crew.workers:
            if worker.is_ready and worker.job is None and (job := self._next_job(crew)):
                worker.give(job)
        if any(worker.job or not worker.is_ready for worker in crew.workers):
            return True
        left = next_runs(self.experiment, self.done)
        if left and not self._has_waited:
            self._has_waited = True
            self.watcher.note("Waiting for another process that trains what is left.")
        return bool(left)

    def _next_job(self, crew: Crew) -> Job | None:
        """The next fleet that no other process trains and whose parents' weights are here."""
        while ready := self._ready(crew):
            runs = self.leases.take(ready, lambda free: pack(free, len(crew.workers), self.fleet_size, self._limits))
            parents = [self.store.valid_weights(self.done[run.parent]) if run.parent else None for run in runs]
            lost = {run.parent for run, kept in zip(runs, parents, strict=True) if run.parent and not kept}
            if not self._take_over(ready) and not lost:
                if not runs:
                    return None
                attempts = [self._attempt(run) for run in runs]
                return Job(runs, self._task(runs[0]).card, parents, self.store.weights, attempts)
            self.leases.release(run.id for run in runs)
            self._forget(lost)
        return None

    def _ready(self, crew: Crew) -> list[Run]:
        busy = {run.id for worker in crew.workers if worker.job for run in worker.job.runs}
        found = walk(self.experiment, self.done)
        self._cells = {}
        for cell, runs in found.cells.items():
            for run in runs:
                self._cells.setdefault(run.id, []).append(cell)
        if any(run.id not in self._expected for run in found.missing):  # a grid has been extended
            self._expect()
        return [run for run in found.missing if run.id not in busy]

    def _expect(self) -> None:
        """Tells how much is still to come, where that is not what it was."""
        coming = forecast(self.experiment, self.done)
        self._expected = {run.id for run in coming}
        self.watcher.expect(coming)

    def _task(self, run: Run) -> Task:
        """The task, in the variant that a run is of."""
        return self.experiment.tasks[self._cells[run.id][0].task]

    def _attempt(self, run: Run) -> int:
        return self.attempt or self._attempts.get(run.id, 1)

    def _take_over(self, runs: list[Run]) -> bool:
        """Counts those of these runs as done that another process has finished; true if there are any."""
        found = self.store.results([run.id for run in runs])  # with paths: a damaged one is not finished
        news = [run for run in runs if run.id in found and self._suffices(run, found[run.id])]
        for run in news:
            self._finished(run, found[run.id])
            self.watcher.advance(run.steps)
        return bool(news)

    def _suffices(self, run: Run, result: Result) -> bool:
        """Whether a stored result makes training a run needless."""
        is_last = run.stage == self.experiment.card.stages[-1].name
        usable = is_last or result.status == "diverged" or self.store.valid_weights(result) is not None
        return usable and self.attempt in (None, result.attempt)

    def _finished(self, run: Run, result: Result) -> None:
        self.done[run.id] = result
        self.watcher.finished(run, result)
        if result.status == "diverged":  # what would have started from it never will
            self._expect()

    def _forget(self, parents: set[RunId]) -> None:
        """Counts parents whose weights are not here any more as not done, so that they are trained again."""
        for parent in parents:
            self._losses[parent] += 1
            if self._losses[parent] > LOSSES:
                raise Failed(f"{named(self.store.weights)}: weights written there cannot be read again.")
            self.done.pop(parent, None)
        if parents:
            self._expect()

    def _receive(self, worker: Worker, message: Said, crew: Crew) -> None:
        if isinstance(message, Ready):
            worker.is_ready = True
        elif isinstance(message, Progress):
            worker.told += message.run_steps
            self.watcher.advance(message.run_steps)
        elif isinstance(message, Refused):
            raise BadInput(message.text)
        elif isinstance(message, Broken):
            raise Failed(message.text)
        elif isinstance(message, Refused):
            raise BadInput(message.text)
        elif isinstance(message, Unwritable):
            raise Failed(
                f"{named(self.store.weights)} could not be written ({message.text}); what was finished is kept, make room "
                "and give the same command again."
            )
        elif isinstance(message, list):
            self._keep(worker, message)
        else:
            runs = worker.job.runs if worker.job else []
            self.watcher.advance(-worker.told)
            worker.job, worker.told = None, 0
            self.leases.release(run.id for run in runs)
            if runs and not isinstance(message, LostWeights):  # lost parents are found when the fleet is packed again
                self._spare_memory(worker, runs, message, crew)
            elif isinstance(message, Died):
                self._restart(worker, message, crew)

    def _keep(self, worker: Worker, trained: list[Trained]) -> None:
        assert worker.job is not None
        runs, told = worker.job.runs, worker.told
        for run, found in zip(runs, trained, strict=True):
            result = replace(found.result, versions=dict(found.result.versions) | made_with(run.optimizer.name))
            self.store.keep(run, *found._replace(result=result), member=(self.name, self._cells[run.id]))
            self._finished(run, result)
        self.leases.release(run.id for run in runs)
        steps = sum(run.steps for run in runs)
        self.trained, self.trained_steps = self.trained + len(runs), self.trained_steps + steps
        worker.job, worker.told = None, 0
        self.watcher.advance(steps - told)

    def _restart(self, worker: Worker, message: Died, crew: Crew) -> None:
        """Replaces a worker that died without a job."""
        self._failed_starts += not worker.is_ready
        if self._failed_starts >= DEATHS:
            raise Failed(f"Workers die while they start (exit code {message.exitcode}); is torch installed and sound?")
        crew.replace(worker)
        self.watcher.note(f"A worker died (exit code {message.exitcode}) and was replaced.")

    def _spare_memory(self, worker: Worker, runs: list[Run], message: NoMemory | Died, crew: Crew) -> None:
        """After a fleet that did not fit, or a death that may have come of it: smaller fleets, then fewer workers."""
        why, one = "A fleet did not fit in memory", runs[0]
        if isinstance(message, Died):
            why = f"A worker died (exit code {message.exitcode})"
            crew.replace(worker)
        if len(runs) > 1:
            half = self._limits[one.kind] = min(self._limits.get(one.kind, len(runs)), len(runs) // 2)
            self.watcher.note(f"{why}: its {len(runs)} runs are trained again, {half} at a time.")
            return
        self._deaths[one.id] += 1
        if isinstance(message, Died) and self._deaths[one.id] < DEATHS:
            self.watcher.note(f"{why}: its run is trained again.")
            return
        crew.dismiss(worker)
        if crew.workers:
            self._deaths[one.id] = 0
            self.watcher.note(f"{why}, though it was one run alone: going on with {len(crew.workers)} of the workers.")
        else:
            fits = what_fits(one, self._task(one), self.interrupt)
            raise Failed(f"{why}, most likely for lack of memory. {fits}" if isinstance(message, Died) else fits)

    def _note_interrupted(self, crew: Crew) -> None:
        for job in [worker.job for worker in crew.workers if worker.job]:
            for run, attempt in zip(job.runs, job.attempts, strict=True):
                result = Result(run.id, "interrupted", attempt=attempt)
                self.store.keep(run, result, [], None, member=(self.name, self._cells[run.id]))
