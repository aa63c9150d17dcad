"""A session: an experiment from its first missing run to its last, kept in a folder of results."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice, named
from synthbench.execution import tracking
from synthbench.execution.engine import HERE, Engine
from synthbench.execution.progress import Tally
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import experiment_id
from synthbench.experiment.runs import Result, RunId
from synthbench.store.leases import Leases
from synthbench.store.members import drop_weights, enlist, usable_results
from synthbench.store.results import Store

KEEP = ("none", "chosen", "all")
MOST_WORKERS = 4096


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """How to train. out: the folder of results; is_temporary where it is deleted afterwards. jobs: worker processes, None
    for one a core. fleet_size: runs trained as one batched model, None to choose. keep_weights: one of KEEP. fresh: train
    anew what is done. command: as typed, for the record. engine: where fleets are trained."""

    out: Path
    jobs: int | None = None
    fleet_size: int | None = None
    keep_weights: str = "chosen"
    fresh: bool = False
    quiet: bool = False
    command: str = ""
    is_temporary: bool = False
    engine: Engine = HERE
    track: Sequence[str] = ()

    def check(self) -> None:
        """Raises BadInput that names the option whose value is not allowed."""
        for name, number in (("--jobs", self.jobs), ("--fleet-size", self.fleet_size)):
            if number is not None and not 1 <= number <= MOST_WORKERS:
                raise BadInput(f"{name} {number} must be between 1 and {MOST_WORKERS}.")
        check_choice("--keep-weights", self.keep_weights, KEEP)
        self.engine.check()
        self.engine.check_installed()
        for name in self.track:
            tracking.check(name)

    def workers(self, device: str) -> int:
        """How many fleets are trained at a time: `jobs`; else, on a cluster, as many as it has room for; here one on a GPU,
        or one for each core that this process may use."""
        if not self.engine.is_here:
            return self.jobs or MOST_WORKERS
        if device == "cuda":
            return 1
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.jobs or cores or 1


def perform(experiment: Experiment, options: ExecutionOptions) -> str:
    """Trains the missing runs of an experiment, stores them in the folder, and returns its id there."""
    with closing(Store.create(options.out)) as store, closing(Leases(store)) as leases:
        name = experiment_id(experiment)
        tasks = {label: task.fingerprint for label, task in experiment.tasks.items()}
        record = (name, experiment.card.model_dump_json(by_alias=True), json.dumps(tasks), options.command)
        done = {} if options.fresh else usable_results(experiment, store)
        plan = Plan(experiment, done)
        is_done = not plan.ready()
        store.record(*record, finished=is_done)
        enlist(experiment, name, store, done)
        if store.damaged:
            print(f"synthbench: {len(store.damaged)} stored runs are damaged and count as not done.", file=sys.stderr)
        if is_done and not options.quiet:
            print("All runs were done before; nothing is trained.", file=sys.stderr)
        if not is_done:
            train(plan, done, name, leases, options)
            enlist(experiment, name, store, done)
        if leases.is_alone():  # others may start from them
            drop_weights(experiment, name, store, options.keep_weights)
        store.record(*record, finished=True)
        return name


def train(plan: Plan, done: dict[RunId, Result], name: str, leases: Leases, options: ExecutionOptions) -> None:
    """Trains the runs that a plan asks for. done: the plan's finished runs, which grow. name: of the experiment in the
    store. Raises KeyboardInterrupt after a line on what is kept.
    """
    from synthbench.execution.interrupt import noticed
    from synthbench.execution.progress import watch
    from synthbench.execution.scheduler import Scheduler

    start, before, remaining = time.monotonic(), set(done), plan.remaining()
    slots = min(options.workers(plan.experiment.environment.device), len(remaining))
    attempt = 1 + max(leases.store.attempts().values(), default=0) if options.fresh else None
    try:
        with noticed() as interrupt, watch(remaining, quiet=options.quiet) as watcher, tracked(watcher, options, plan):
            scheduler = Scheduler(
                plan=plan, done=done, experiment_id=name, leases=leases, watcher=watcher, interrupt=interrupt,
                make_executor=options.engine.executor, slots=slots, fleet_size=options.fleet_size, attempt=attempt,
            )  # fmt: skip
            scheduler.execute()
            if interrupt:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        again = "--fresh would start anew." if options.fresh else "rerun the command to resume."
        finished = f"{len(done.keys() - before)} of {len(remaining)} runs are finished"
        kept = "nothing is kept." if options.is_temporary else f"{finished} and kept in {named(options.out)}; {again}"
        print(f"\nInterrupted: {kept}", file=sys.stderr)
        raise
    if not options.quiet:
        seconds, steps = time.monotonic() - start, scheduler.trained_steps
        rate = f"{steps / seconds:.0f} run-steps/s"
        print(f"{scheduler.trained} runs, {steps} run-steps in {seconds:.0f} s ({rate}).", file=sys.stderr)


@contextmanager
def tracked(watcher: Tally, options: ExecutionOptions, plan: Plan) -> Iterator[None]:
    """Within, trackers are told of runs; one that fails is left out."""
    for name in options.track:
        with watcher.without_if_it_fails(name):
            watcher.trackers[name] = tracking.TRACKERS[name][1](options.out, plan.experiment.card.name)
    try:
        yield
    finally:
        for name, tracker in list(watcher.trackers.items()):
            with watcher.without_if_it_fails(name):
                tracker.close()
