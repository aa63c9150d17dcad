"""What a scheduler asks of the place where fleets are trained, and what it hears back.

`process_pool.py` is the local executor. Another one (a cluster) implements `Executor` and is given to `session.train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from synthbench.execution.fleet_job import Job, Trained
from synthbench.plugins import Origin


class Ready(NamedTuple):
    """The slot has started and can be given jobs."""


class Progress(NamedTuple):
    run_steps: int  # trained since the last message


class NoMemory(NamedTuple):
    """The fleet does not fit."""


class LostWeights(NamedTuple):
    """Weights to start from are not as they were written."""


class Unwritable(NamedTuple):
    text: str  # why weights could not be written


class Refused(NamedTuple):
    text: str  # what is wrong with a user's code


class Broken(NamedTuple):
    text: str  # the traceback


class Died(NamedTuple):
    exitcode: int | None  # negative: the signal that killed it


Outcome = list[Trained] | NoMemory | LostWeights | Unwritable | Refused | Broken
Message = Ready | Progress | Outcome | Died


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

    def messages(self, seconds: float, wake: int) -> Iterator[tuple[Slot, Message]]:
        """What slots report within this time, or until the file descriptor `wake` can be read."""

    def restart(self, slot: Slot) -> None:
        """Starts a slot anew that has died; it is ready when it says so."""

    def retire(self, slot: Slot) -> None:
        """Ends a slot for good."""


# Makes an executor with so many slots, for a kind of device, whose slots know these plug-ins
MakeExecutor = Callable[[int, str, Sequence[Origin]], Executor]
