"""The interface between the scheduler and what trains fleets: jobs one way, messages the other.

`process_pool.py` is the local executor, `ray_cluster.py` that of a cluster; `Engine.executor` chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from synthbench.common.errors import SynthbenchError
from synthbench.execution.fleet_job import Job, Trained
from synthbench.experiment.runs import Run
from synthbench.plugins import Origin
from synthbench.plugins.trial import Trial, Tried
from synthbench.store.weights import MissingWeights


class Ready(NamedTuple):
    """The slot has started and accepts jobs."""


class Died(NamedTuple):
    exitcode: int | None  # negative: the signal that killed it


class Lost(NamedTuple):
    """What a fleet was trained on is gone, a node of a cluster: no fault of the fleet."""


# A fleet that is trained. Or why it is not: it does not fit; its parents' weights are lost; an error that ends the command.
Outcome = list[Trained] | MemoryError | MissingWeights | SynthbenchError
Message = Ready | int | Outcome | Tried | Died | Lost  # int: run-steps trained since the last message


@dataclass(frozen=True)
class TrialJob:
    """A plug-in to try before anything is trained; answered by `Tried` or a SynthbenchError. Without a trial the code is
    loaded alone, which is answered by `Ready`."""

    plugins: Sequence[Origin]
    trial: Trial | None = None


@dataclass(eq=False)
class Slot:
    """A place where one fleet is trained at a time. run_steps: of its job, reported so far. plugins: what was loaded in it;
    once there is something, it trains nothing that does not need exactly that."""

    is_ready: bool = False
    job: Job | TrialJob | None = None
    run_steps: int = 0
    plugins: Sequence[Origin] = ()

    @property
    def runs(self) -> list[Run]:
        """Those in training."""
        return self.job.runs if isinstance(self.job, Job) else []


class Executor(Protocol):
    """Trains fleets in slots. It is a context: all that it trains ends with it."""

    @property
    def slots(self) -> Sequence[Slot]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, slot: Slot, job: Job | TrialJob) -> None:
        """Starts a job in a slot that has none; one with other plug-ins loaded is restarted before."""

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        """Messages of slots within this time."""

    def restart(self, slot: Slot) -> None:
        """Restarts a slot that has died or is lost; its next message is `Ready`."""

    def retire(self, slot: Slot) -> None:
        """Ends a slot for good."""


MakeExecutor = Callable[[int, str], Executor]  # (number of slots, kind of device) -> executor
