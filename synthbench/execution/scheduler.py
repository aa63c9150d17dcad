"""The scheduler: asks the plan what is next, packs runs into fleets, hands fleets to an executor, keeps what it returns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from synthbench import plugins
from synthbench.common.errors import Failed, SynthbenchError
from synthbench.common.wording import named
from synthbench.execution.executor import Died, Executor, Lost, MakeExecutor, Message, Ready, Slot
from synthbench.execution.fleet_job import Job, Trained
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.memory_probe import what_fits
from synthbench.execution.packing import pack_kinds
from synthbench.execution.progress import Tally
from synthbench.experiment.plan import Plan
from synthbench.experiment.readings import wanted
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.generators import Task
from synthbench.plugins import Origin, origins
from synthbench.plugins.trial import Tried
from synthbench.store.leases import Leases
from synthbench.store.results import Kept, Store
from synthbench.store.weights import MissingWeights, WeightFile

POLL = 0.5  # seconds between reads of what other processes have finished
MAX_DEATHS = 3  # of a slot on one run alone, or while it starts, after which it is given up
SELDOM = 50  # times as long as counting what is left takes, until it is counted again; if that is not done
QUICK = 0.05  # seconds
MAX_LOST_WEIGHTS = 3  # of a parent's weights, after which it is not trained once more


@dataclass(kw_only=True)
class Scheduler:
    """Trains what a plan asks for to its end, and notes the runs and their cells in the store.

    experiment_id: in the store. done: the finished runs of the plan, to which this adds. slots: how many fleets are trained
    at a time. attempt: that of `--fresh`, None to resume. trained, trained_steps: the runs that this process has trained,
    and their run-steps.
    """

    plan: Plan
    done: dict[RunId, Result]
    experiment_id: str
    leases: Leases
    watcher: Tally
    interrupt: Interrupt
    make_executor: MakeExecutor
    slots: int
    fleet_size: int | None = None
    attempt: int | None = None
    trained: int = 0
    trained_steps: int = 0
    _attempts: dict[RunId, int] = field(default_factory=dict)
    _limits: dict[str, int] = field(default_factory=dict)  # the most runs of a kind that fit in memory
    _deaths: Counter[RunId] = field(default_factory=Counter)
    _losses: Counter[RunId] = field(default_factory=Counter)
    _weights: dict[RunId, WeightFile] = field(default_factory=dict)  # of parents, checked; workers check them again
    _origins: dict[str, list[Origin]] = field(default_factory=dict)  # by kind of run
    _elsewhere: list[Run] = field(default_factory=list)  # ready, but in training in other processes
    _failed_starts: int = 0
    _has_waited: bool = False
    _is_off: bool = False  # whether the number of runs that are left is no longer what was reported
    _next_look: float = 0.0  # when they may be counted again

    def __post_init__(self) -> None:
        self._walk = self.plan.walk()
        self._grown = self._walk.grown

    @property
    def store(self) -> Store:
        return self.leases.store

    def execute(self) -> None:
        """Trains until the plan has nothing left. On an interrupt the runs in training are noted as interrupted."""
        if not self._walk.ready:
            return
        experiment = self.plan.experiment
        self._attempts = self.store.attempts()
        self.store.stop = lambda: bool(self.interrupt)
        with self.make_executor(self.slots, experiment.environment.device) as executor:
            while self._assign(executor):
                for slot, message in executor.messages(POLL):
                    self._receive(slot, message, executor)
                self.leases.beat()
                if self.interrupt:
                    self._note_interrupted(executor)
                    raise KeyboardInterrupt

    def _assign(self, executor: Executor) -> bool:
        """Gives every idle slot a fleet if there is one; false when nothing is left to train or to wait for."""
        for slot in executor.slots:
            if slot.is_ready and slot.job is None and (job := self._next_job(slot, executor)):
                executor.submit(slot, job)
        self._expect()
        if any(slot.job or not slot.is_ready for slot in executor.slots):
            return True
        left = bool(self._walk.ready)
        if left and not self._has_waited:
            self._has_waited = True
            self.watcher.note("Waiting for another process that trains what is left.")
        return left

    def _next_job(self, slot: Slot, executor: Executor) -> Job | None:
        """The next fleet that no other process trains and whose parents' weights are here."""
        while True:
            runs = self.leases.take(lambda held: self._fleet(held, slot, executor))
            parents = [self._valid_weights(run.parent) if run.parent else None for run in runs]
            lost = {run.parent for run, file in zip(runs, parents, strict=True) if run.parent and not file}
            if not self._adopt_finished(runs or self._elsewhere) and not lost:
                if not runs:
                    return None
                for run in runs:
                    self._walk.ready.discard(run)
                attempts = [self._attempt(run) for run in runs]
                task, needed = self._task(runs[0]).card, self._plugins(runs[0])
                return Job(runs, task, parents, self.store.weights, attempts, needed)
            self.leases.release(run.id for run in runs)
            self._forget(lost)

    def _fleet(self, held: set[RunId], slot: Slot, executor: Executor) -> list[Run]:
        """The fleet to train next in a slot, of the runs that are ready and not held by others: if there is one, one that
        its process has the plug-ins for; for others it must be started anew."""
        ready, taken = self._walk.ready, dict[str, set[RunId]]()
        busy = {run.id for other in executor.slots for run in other.runs}
        known = [run for run in map(self._walk.run, held | busy) if run and run in ready]
        for run in known:
            taken.setdefault(run.kind, set()).add(run.id)
        self._elsewhere = [run for run in known if run.id in held]
        count, workers = len(ready) - len(known), len(executor.slots)
        suited = {
            kind: runs for kind, runs in ready.kinds.items()
            if self._plugins(next(iter(runs.values()))) == [*slot.plugins]
        }  # fmt: skip
        return pack_kinds(suited, count, workers, self.fleet_size, self._limits, taken) or pack_kinds(
            ready.kinds, count, workers, self.fleet_size, self._limits, taken
        )

    def _valid_weights(self, parent: RunId) -> WeightFile | None:
        """The weights of a parent, if they are here; checked once, for workers check what they read."""
        if parent not in self._weights and (file := self.store.valid_weights(self.done[parent])):
            self._weights[parent] = file
        return self._weights.get(parent)

    def _plugins(self, run: Run) -> list[Origin]:
        if run.kind not in self._origins:
            self._origins[run.kind] = origins([run.optimizer.name], [self._task(run)])
        return self._origins[run.kind]

    def _expect(self) -> None:
        """Reports how much is left to train, where that changed: a grid was extended, or runs diverged from which others
        would have started. All that is planned is counted, so for large plans seldom."""
        self._is_off |= self._walk.grown != self._grown
        start = time.monotonic()
        if not self._is_off or (start < self._next_look and self._walk.ready):
            return
        self._is_off, self._grown = False, self._walk.grown
        self.watcher.expect(self.plan.remaining())
        spent = time.monotonic() - start
        self._next_look = start + (SELDOM * spent if spent > QUICK else 0.0)

    def _task(self, run: Run) -> Task:
        """A run's task, with its variant."""
        return self.plan.experiment.tasks[self._walk.cells_of(run.id)[0].task]

    def _attempt(self, run: Run) -> int:
        return self.attempt or self._attempts.get(run.id, 1)

    def _adopt_finished(self, runs: list[Run]) -> bool:
        """Counts runs that another process has finished as done; true if there are any."""
        stored = self.store.results([run.id for run in runs], paths=False) if runs else {}  # no damaged ones
        finished = [run for run in runs if run.id in stored and self._suffices(run, stored[run.id])]
        self._finished([(run, stored[run.id]) for run in finished])
        for run in finished:
            self.watcher.advance(run.steps)
        return bool(finished)

    def _suffices(self, run: Run, result: Result) -> bool:
        """Whether a stored result can be used instead of training the run."""
        is_last = run.stage == self.plan.experiment.card.stages[-1].name
        usable = is_last or result.status == "diverged" or self.store.valid_weights(result) is not None
        return usable and self.attempt in (None, result.attempt)

    def _finished(self, results: Sequence[tuple[Run, Result]]) -> None:
        self.done.update({run.id: result for run, result in results})
        self._walk.finished([run.id for run, _ in results])
        self._is_off |= any(result.status == "diverged" for _, result in results)
        for run, result in results:
            self.watcher.finished(run, result)
        self._expect()  # after these are counted: what is expected is what is left beside them

    def _forget(self, parents: set[RunId]) -> None:
        """Marks parents whose weights are lost as not done: they are trained again."""
        for parent in parents:
            self._losses[parent] += 1
            if self._losses[parent] > MAX_LOST_WEIGHTS:
                raise Failed(f"{named(self.store.weights)}: weights written there cannot be read again.")
            self.done.pop(parent, None)
        self._walk.forgotten(parents)
        self._is_off |= bool(parents)

    def _receive(self, slot: Slot, message: Message, executor: Executor) -> None:
        assert not isinstance(message, Tried), "plug-ins are tried before"
        if isinstance(message, Ready):
            slot.is_ready = True
        elif isinstance(message, int):
            slot.run_steps += message
            self.watcher.advance(message)
        elif isinstance(message, SynthbenchError):
            raise message
        elif isinstance(message, list):
            self._keep(slot, message)
        else:
            self._recover(slot, message, executor)

    def _keep(self, slot: Slot, trained: list[Trained]) -> None:
        runs, reported = slot.runs, slot.run_steps
        read = [one._replace(result=self._read(run, one.result)) for run, one in zip(runs, trained, strict=True)]
        kept = [Kept(run, *one, self._walk.cells_of(run.id)) for run, one in zip(runs, read, strict=True)]
        self.store.keep_all(kept, self.experiment_id)
        self._finished([(run, self.store.later(one.result)) for run, one in zip(runs, read, strict=True)])
        for run, one in zip(runs, read, strict=True):
            self.watcher.kept(run, one.result)
            if news := plugins.news(run.optimizer.name, one.result.versions):
                self.watcher.note(news)
        self.leases.release(run.id for run in runs)
        steps = sum(run.steps for run in runs)
        self.trained, self.trained_steps = self.trained + len(runs), self.trained_steps + steps
        slot.job, slot.run_steps = None, 0
        self.watcher.advance(steps - reported)

    def _read(self, run: Run, result: Result) -> Result:
        """The result with what the card reads of its path, where it reads some."""
        card = self.plan.experiment.card
        cells = self._walk.cells_of(run.id)
        if run.stage != card.stages[-1].name or result.status != "ok" or not cells:
            return result
        return replace(result, readings=result.reading(wanted(card.reading, cells[0].size)))

    def _recover(self, slot: Slot, message: MemoryError | MissingWeights | Died | Lost, executor: Executor) -> None:
        """After a fleet that was not trained: its leases are released, a dead slot is restarted."""
        runs = slot.runs
        self.watcher.advance(-slot.run_steps)
        slot.job, slot.run_steps = None, 0
        self.leases.release(run.id for run in runs)
        for run in runs:
            self._walk.put_back(run)
        if isinstance(message, Lost):
            executor.restart(slot)
            self.watcher.note(f"A node of the cluster is lost: {len(runs)} runs are trained again elsewhere.")
        elif isinstance(message, MissingWeights):
            self._weights.clear()  # whose are lost is found when the fleet is packed again
        elif runs:
            self._retry_smaller(slot, runs, message, executor)
        elif isinstance(message, Died):
            self._failed_starts += not slot.is_ready
            if self._failed_starts >= MAX_DEATHS:
                raise Failed(
                    f"Workers die while they start (exit code {message.exitcode}); check that torch works here."
                )
            executor.restart(slot)
            self.watcher.note(f"A worker died (exit code {message.exitcode}) and was replaced.")

    def _retry_smaller(self, slot: Slot, runs: list[Run], message: MemoryError | Died, executor: Executor) -> None:
        """After a fleet that did not fit in memory, or a death perhaps due to that: smaller fleets, then fewer slots."""
        why, first = "A fleet did not fit in memory", runs[0]
        if isinstance(message, Died):
            why = f"A worker died (exit code {message.exitcode})"
            executor.restart(slot)
        if len(runs) > 1:
            half = self._limits[first.kind] = min(self._limits.get(first.kind, len(runs)), len(runs) // 2)
            self.watcher.note(f"{why}: its {len(runs)} runs are trained again, {half} at a time.")
            return
        self._deaths[first.id] += 1
        if isinstance(message, Died) and self._deaths[first.id] < MAX_DEATHS:
            self.watcher.note(f"{why}: its run is trained again.")
            return
        executor.retire(slot)
        if executor.slots:
            self._deaths[first.id] = 0
            self.watcher.note(f"{why}, with one run alone: continuing with {len(executor.slots)} of the workers.")
        else:
            fits = what_fits(first, self._task(first), self.interrupt)
            raise Failed(f"{why}, most likely for lack of memory. {fits}" if isinstance(message, Died) else fits)

    def _note_interrupted(self, executor: Executor) -> None:
        runs = [run for slot in executor.slots for run in slot.runs]
        results = [Result(run.id, "interrupted", attempt=self._attempt(run)) for run in runs]
        kept = [Kept(run, result, [], None, None, self._walk.cells_of(run.id))
                for run, result in zip(runs, results, strict=True)]  # fmt: skip
        self.store.keep_all(kept, self.experiment_id)
