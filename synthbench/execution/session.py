"""An experiment from its first missing run to its report: for the command line and for Python alike."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, named, shown
from synthbench.experiment.plan import Experiment, forecast
from synthbench.experiment.resolve import experiment_id
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.store.leases import Leases
from synthbench.store.members import drop_weights, enlist
from synthbench.store.results import Store

KEEP = ("none", "chosen", "all")


@dataclass(frozen=True)
class Options:
    """How to run, beside what. command: as typed, for the record. passing: the folder is gone afterwards."""

    out: Path
    jobs: int | None
    fleet_size: int | None
    keep_weights: str
    fresh: bool
    dry_run: bool
    quiet: bool
    assert_claims: bool
    command: str
    passing: bool = False

    def check(self) -> None:
        for name, number in (("--jobs", self.jobs), ("--fleet-size", self.fleet_size)):
            if number is not None and not 1 <= number <= 4096:
                raise BadInput(f"{name} {number} must be between 1 and 4096.")
        if self.keep_weights not in KEEP:
            raise BadInput(f"--keep-weights {shown(self.keep_weights)} is not allowed; allowed are {listed(KEEP)}.")

    def workers(self, device: str) -> int:
        """Worker processes: one on a GPU; else as asked for, or one for each core that this process may use."""
        if device == "cuda":
            return 1
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.jobs or cores or 1


def perform(experiment: Experiment, options: Options) -> str:
    """Trains what is missing of an experiment and notes it in the folder; returns its id there."""
    with closing(Store.create(options.out)) as store, closing(Leases(store)) as leases:
        name = experiment_id(experiment)
        tasks = {task: found.fingerprint for task, found in experiment.tasks.items()}
        recorded = (name, experiment.card.model_dump_json(by_alias=True), json.dumps(tasks), options.command)
        done = {} if options.fresh else startable(experiment, store)
        coming = forecast(experiment, done)
        store.record(*recorded, finished=not coming)
        enlist(experiment, name, store, done)
        if store.damaged:
            print(f"synthbench: {len(store.damaged)} stored runs are damaged and count as not done.", file=sys.stderr)
        if not coming and not options.quiet:
            print("All runs were done before; nothing is trained.", file=sys.stderr)
        train(experiment, name, leases, options, done, coming)
        store.record(*recorded, finished=True)
        return name


def startable(experiment: Experiment, store: Store) -> dict[RunId, Result]:
    """Finished runs, less those whose weights a run still to come would start from and that are no longer kept."""
    done = store.results()
    parents = {run: identity["parent"] for run, identity in store.identities().items()}
    needed, lost = {run.parent for run in forecast(experiment, done)}, set[RunId | None]()
    while needed := {run for run in done.keys() & needed - lost if not store.valid_weights(done[run])}:
        lost |= needed
        needed = {parents[run] for run in needed}  # a parent that is trained again needs its own parent in turn
    return {run: result for run, result in done.items() if run not in lost}


def train(
    experiment: Experiment, name: str, leases: Leases, options: Options, done: dict[RunId, Result], coming: list[Run]
) -> None:
    """Trains the runs to come and drops the weights that are not to be kept. done: finished runs, which grows."""
    from synthbench.execution.interrupt import noticed
    from synthbench.execution.progress import watch
    from synthbench.execution.scheduler import Engine

    store, before, start = leases.store, set(done), time.monotonic()
    attempt = 1 + max(store.attempts().values(), default=0) if options.fresh else None
    try:
        with noticed() as interrupt, watch(coming, options.quiet) as watcher:
            workers = min(options.workers(experiment.environment.device), max(1, len(coming)))
            engine = Engine(
                experiment, name, leases, watcher, interrupt, jobs=workers, fleet_size=options.fleet_size,
                done=done, attempt=attempt,
            )  # fmt: skip
            engine.execute()
            if interrupt:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        again = "--fresh would start anew." if options.fresh else "the same command goes on from there."
        finished = f"{len(done.keys() - before)} of {len(coming)} runs are finished"
        kept = "nothing is kept." if options.passing else f"{finished} and kept in {named(options.out)}; {again}"
        print(f"\nInterrupted: {kept}", file=sys.stderr)
        raise
    enlist(experiment, name, store, done)
    if leases.is_alone():  # others may start from them
        drop_weights(experiment, name, store, options.keep_weights)
    if coming and not options.quiet:
        seconds, runs, steps = time.monotonic() - start, engine.trained, engine.trained_steps
        print(
            f"{runs} runs, {steps} run-steps in {seconds:.0f} s ({steps / seconds:.0f} run-steps/s).", file=sys.stderr
        )
