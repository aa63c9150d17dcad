"""Checks the data of a task, its generators built in or not."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

from synthbench.common.errors import BadInput
from synthbench.execution.process_pool import environment, without_main
from synthbench.generators import Task
from synthbench.generators.contract import CHECKS, Sample
from synthbench.plugins import generators

ELSEWHERE = "Another process draws the same data."


def outcomes(name: str) -> Iterator[tuple[str, str | None]]:
    """Every check with what failed, None where it passes; raises BadInput where there is no task to check."""
    task = generators.task(name)
    sample = Sample(task)
    for check in CHECKS:
        try:
            yield check.title, check.holds(sample)
        except BadInput as error:  # a generator fails for other seeds or sizes
            yield check.title, str(error).rstrip(".")
    yield ELSEWHERE, elsewhere(task)


def elsewhere(task: Task) -> str | None:
    """What is wrong with the task's data in another process, where hash() and the order of sets differ."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_draw, args=(theirs, generators.origin_of(task)), daemon=True)
    with environment(), without_main():
        process.start()
    theirs.close()
    try:
        fault: str | None = ours.recv()
    except EOFError:
        fault = "the other process died while it drew"
    process.join()
    return fault


def _draw(pipe: Connection, origin: generators.Origin) -> None:
    try:
        generators.restore(origin)
        pipe.send(None)
    except BadInput as error:
        pipe.send(str(error).rstrip("."))
