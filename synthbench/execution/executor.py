"""The interface between the scheduler and what trains fleets: jobs one way, messages the other.

`process_pool.py` is the local executor. Another one (a cluster) implements `Executor`; `session.executor` chooses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from synthbench.common.errors import SynthbenchError
from synthbench.execution.fleet_job import Job, Trained
from synthbench.plugins import Origin
from synthbench.store.weights import MissingWeights


class Ready(NamedTuple):
    """The slot has started and accepts jobs."""


class Died(NamedTuple):
    exitcode: int | None  # negative: the signal that killed it


# A fleet that is trained. Or why it is not: it does not fit; its parents' weights are lost; an error that ends the command.
Outcome = list[Trained] | MemoryError | MissingWeights | SynthbenchError
Message = Ready | int | Outcome | Died  # int: run-steps trained since the last message


@dataclass(eq=False)
class Slot:
    """A place where one fleet is trained at a time. run_steps: of its job, reported so far."""

    is_ready: bool = False
    job: Job | None = None
    run_steps: int = 0


class Executor(Protocol):
    """Trains fleets in slots. It is a context: all that it trains ends with it."""

    @property
    def slots(self) -> Sequence[Slot]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, slot: Slot, job: Job) -> None:
        """Starts a job in a slot that has none."""

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        """Messages of slots within this time."""

    def restart(self, slot: Slot) -> None:
        """Restarts a slot that has died; its next message is `Ready`."""

    def retire(self, slot: Slot) -> None:
        """Ends a slot for good."""


# (number of slots, kind of device, plug-ins to load) -> executor
MakeExecutor = Callable[[int, str, Sequence[Origin]], Executor]
