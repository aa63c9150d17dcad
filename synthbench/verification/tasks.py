"""`synthbench verify --task`: every promise of a task's data, its generators built in or not, each kept or broken."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

from synthbench.common.errors import BadInput
from synthbench.execution.process_pool import environment, without_main
from synthbench.generators import Task
from synthbench.generators.contract import CHECKS, Check, Sample
from synthbench.plugins import generators

ELSEWHERE = "Another process draws the same data."


def check_task(given: str) -> list[tuple[str, str | None]]:
    """Each promise, with what breaks it, or nothing; raises BadInput where there is no task to check."""
    task = generators.task(given)
    sample = Sample(task)
    return [*((check.promise, _broken(check, sample)) for check in CHECKS), (ELSEWHERE, elsewhere(task))]


def _broken(check: Check, sample: Sample) -> str | None:
    try:
        return check.holds(sample)
    except BadInput as error:  # of a generator that fails for other seeds or sizes
        return str(error).rstrip(".")


def elsewhere(task: Task) -> str | None:
    """What another process says that draws the task, too: hash() and sets differ there."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_draw, args=(theirs, generators.origin_of(task)), daemon=True)
    with environment(), without_main():
        process.start()
    theirs.close()
    try:
        found: str | None = ours.recv()
    except EOFError:
        found = "the other process died while it drew"
    process.join()
    return found


def _draw(pipe: Connection, origin: generators.Origin) -> None:
    try:
        generators.restore(origin)
        pipe.send(None)
    except BadInput as error:
        pipe.send(str(error).rstrip("."))
