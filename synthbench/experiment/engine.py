"""The engine: asks the planner what is next, packs runs into fleets, hands fleets to workers, keeps what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from synthbench.errors import Failed
from synthbench.experiment.claims import Claims
from synthbench.experiment.crew import Crew, Died, Worker
from synthbench.experiment.packing import pack
from synthbench.experiment.plan import Experiment, forecast, next_runs, walk
from synthbench.experiment.room import what_fits
from synthbench.experiment.runs import Cell, Result, Run, RunId
from synthbench.experiment.store import Store
from synthbench.experiment.training import Job, Trained
from synthbench.experiment.worker import Broken, LostWeights, NoMemory, Outcome, Progress, Unwritable
from synthbench.interrupt import Interrupt
from synthbench.wording import named

LOOK = 0.5  # seconds between looks at what other processes have done
DEATHS = 3  # of workers on one run alone (or on none), after which it is given up


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
    store: Store
    watcher: Watcher
    interrupt: Interrupt
    jobs: int
    fleet_size: int | None
    done: dict[RunId, Result]
    attempt: int | None = None
    trained: int = 0
    trained_steps: int = 0
    _attempts: dict[RunId, int] = field(default_factory=dict)
    _cells: dict[RunId, Cell] = field(default_factory=dict)
    _limits: dict[str, int] = field(default_factory=dict)  # the most runs of a kind that fit in memory
    _deaths: Counter[RunId] = field(default_factory=Counter)

    def execute(self) -> None:
        """Trains until the planner has nothing left. On an interrupt the runs under way are noted as interrupted."""
        if not next_runs(self.experiment, self.done):
            return
        device = self.experiment.environment.device
        self._attempts = self.store.attempts()
        claims = Claims(self.store)
        try:
            with Crew(1 if device == "cuda" else self.jobs, device) as crew:
                while self._assign(crew, claims):
                    for worker, message in crew.messages(LOOK, self.interrupt.wake):
                        self._receive(worker, message, crew, claims)
                    claims.beat()
                    if self.interrupt:
                        self._note_interrupted(crew)
                        raise KeyboardInterrupt
        finally:
            claims.close()

    def _assign(self, crew: Crew, claims: Claims) -> bool:
        """Gives every idle worker a fleet where there is one; false when nothing is left to do or to wait for."""
        for worker in crew.workers:
            if worker.job is None and (job := self._next_job(crew, claims)):
                worker.give(job)
        return any(worker.job for worker in crew.workers) or bool(next_runs(self.experiment, self.done))

    def _next_job(self, crew: Crew, claims: Claims) -> Job | None:
        """The next fleet that no other process trains and whose parents' weights are here."""
        while ready := self._ready(crew):
            runs = claims.take(
                [(run, self._attempt(run)) for run in ready],
                lambda free: pack(free, len(crew.workers), self.fleet_size, self._limits),
            )
            if not self._learn(ready) and not self._forget_lost_parents(runs):
                return self._job(runs) if runs else None
            claims.release(run.id for run in runs)
        return None

    def _ready(self, crew: Crew) -> list[Run]:
        busy = {run.id for worker in crew.workers if worker.job for run in worker.job.runs}
        found = walk(self.experiment, self.done)
        self._cells = {run.id: cell for cell, runs in found.cells.items() for run in runs}
        return [run for run in found.missing if run.id not in busy]

    def _attempt(self, run: Run) -> int:
        return self.attempt or self._attempts.get(run.id, 1)

    def _learn(self, runs: list[Run]) -> bool:
        """Takes over those of these runs that another process has finished; true if there are any."""
        found = self.store.results([run.id for run in runs], paths=False)
        news = [run for run in runs if run.id in found and self._spares(run, found[run.id])]
        for run in news:
            self.watcher.advance(run.steps)
            self._finished(run, found[run.id])
        return bool(news)

    def _finished(self, run: Run, result: Result) -> None:
        self.done[run.id] = result
        self.watcher.finished(run, result)
        if result.status == "diverged":  # what would have started from it never will
            self.watcher.expect(forecast(self.experiment, self.done))

    def _spares(self, run: Run, result: Result) -> bool:
        """Whether a stored result makes training a run needless."""
        is_last = run.stage == self.experiment.card.stages[-1].name
        usable = is_last or result.status == "diverged" or self.store.sound_weights(result) is not None
        return usable and self.attempt in (None, result.attempt)

    def _forget_lost_parents(self, runs: list[Run]) -> bool:
        """Counts parents whose weights are not here any more as not done; true if there are any."""
        parents = {run.parent for run in runs if run.parent}
        lost = [parent for parent in parents if not self.store.sound_weights(self.done[parent])]
        for parent in lost:
            del self.done[parent]
        if lost:
            self.watcher.expect(forecast(self.experiment, self.done))
        return bool(lost)

    def _job(self, runs: list[Run]) -> Job:
        parents = [self.store.sound_weights(self.done[run.parent]) if run.parent else None for run in runs]
        card = self.experiment.tasks[runs[0].task].card
        return Job(runs, card, parents, self.store.weights, [self._attempt(run) for run in runs])

    def _receive(self, worker: Worker, message: Progress | Outcome | Died, crew: Crew, claims: Claims) -> None:
        if isinstance(message, Progress):
            worker.told += message.run_steps
            self.watcher.advance(message.run_steps)
        elif isinstance(message, Broken):
            raise Failed(message.text)
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
            claims.release(run.id for run in runs)
            if not isinstance(message, LostWeights):  # lost parents are found when the fleet is packed again
                self._spare_memory(worker, runs, message, crew)

    def _keep(self, worker: Worker, trained: list[Trained]) -> None:
        assert worker.job is not None
        runs = worker.job.runs
        for run, found in zip(runs, trained, strict=True):
            self.store.keep(run, *found, member=(self.name, self._cells[run.id]))
            self._finished(run, found.result)
        steps = sum(run.steps for run in runs)
        self.trained, self.trained_steps = self.trained + len(runs), self.trained_steps + steps
        self.watcher.advance(steps - worker.told)
        worker.job = None

    def _spare_memory(self, worker: Worker, runs: list[Run], message: NoMemory | Died, crew: Crew) -> None:
        """After a fleet that did not fit, or a death that may have come of it: smaller fleets, then fewer workers."""
        why = "A fleet did not fit in memory"
        if isinstance(message, Died):
            why = f"A worker died (exit code {message.exitcode})"
            crew.replace(worker)
        if len(runs) > 1:
            half = self._limits[runs[0].kind] = len(runs) // 2
            self.watcher.note(f"{why}: its {len(runs)} runs are trained again, {half} at a time.")
            return
        one = runs[0].id if runs else ""
        self._deaths[one] += 1
        if isinstance(message, Died) and self._deaths[one] < DEATHS:
            self.watcher.note(f"{why}: its run is trained again." if runs else f"{why} and was replaced.")
        elif not runs:
            raise Failed(f"{why}, {DEATHS} times before it was given anything to do; is torch installed and sound?")
        elif len(crew.workers) > 1:
            self._deaths[one] = 0
            crew.dismiss(worker)
            self.watcher.note(f"{why}, though it was one run alone: going on with {len(crew.workers)} of the workers.")
        else:
            crew.dismiss(worker)
            fits = what_fits(runs[0], self.experiment.tasks[runs[0].task], self.interrupt)
            raise Failed(f"{why}, most likely for lack of memory. {fits}" if isinstance(message, Died) else fits)

    def _note_interrupted(self, crew: Crew) -> None:
        for job in [worker.job for worker in crew.workers if worker.job]:
            for run, attempt in zip(job.runs, job.attempts, strict=True):
                self.store.keep(run, Result(run.id, "interrupted", attempt=attempt), [], None)
