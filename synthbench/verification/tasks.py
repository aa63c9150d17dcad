"""Checks the data of a task, its generators built in or not."""

from __future__ import annotations

from collections.abc import Iterator

from synthbench.common.errors import BadInput
from synthbench.execution.executor import Died, Message, Ready, TrialJob
from synthbench.execution.process_pool import ProcessPool
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
            failure = next(check(sample), None)
        except BadInput as error:  # a generator fails for other seeds or sizes
            failure = str(error).rstrip(".")
        yield check.__doc__ or "", failure
    yield ELSEWHERE, elsewhere(task)


def elsewhere(task: Task) -> str | None:
    """What is wrong with the task's data in a worker, where hash() and the order of sets differ."""
    with ProcessPool(1, "cpu") as pool:
        pool.submit(pool.slots[0], TrialJob([generators.origin_of(task)]))
        messages: list[Message] = []
        while len(messages) < 2 and not any(
            isinstance(message, Died) for message in messages
        ):  # the first says: started
            messages += [message for _, message in pool.messages(1.0)]
    message = messages[-1]
    if isinstance(message, Ready):
        return None
    return str(message).rstrip(".") if isinstance(message, BadInput) else "the other process died while it drew"
