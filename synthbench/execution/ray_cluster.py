"""The executor of a Ray cluster: a fleet is a task there, and this process alone keeps results.

Weights to start from travel through Ray's object store, and trained ones come back with the results: nodes share no
folder. A task is a stream of messages: run-steps while it trains, then its outcome. Tasks that need plug-ins run in
processes that train nothing else, as with the local executor; a task is never repeated by Ray, but by the scheduler.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from synthbench.common.errors import BadInput, Failed
from synthbench.common.files import write_whole
from synthbench.common.wording import named
from synthbench.execution.engine import NO_RAY, Engine
from synthbench.execution.executor import Died, Lost, Message, Ready, Slot, TrialJob
from synthbench.execution.fleet_job import Job
from synthbench.execution.interrupt import SIGNALS
from synthbench.execution.process_pool import ENVIRONMENT
from synthbench.execution.ray_task import Sent, code_here, train
from synthbench.execution.worker import unwritable
from synthbench.plugins import travel
from synthbench.store.weights import MissingWeights, WeightFile, checked

LOOK = 5.0  # seconds between looks at which nodes there are
MOST_PARENTS = 256  # weights that stay in the object store for fleets to come


class RayCluster:
    """Implements `Executor`. size: the most fleets at a time; fewer where the cluster has not room for so many."""

    def __init__(self, size: int, device: str, engine: Engine) -> None:
        self._ray = imported()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            connect(self._ray, engine)
        self._size, self._device, self._looked = size, device, 0.0
        self._cpus, self._gpus = engine.cpus, engine.gpus if device == "cuda" else 0.0
        self._task = self._ray.remote(train)
        self._slots: list[Slot] = []
        self._retired = 0  # slots that stay away, whatever nodes come
        self._streams: dict[Slot, Any] = {}  # of messages
        self._waiting: list[tuple[Slot, Message]] = []
        self._parents: dict[str, Any] = {}  # in the object store, by name of the file; the last used is the last
        self._fit()
        if not self._slots:
            self.__exit__()
            gpus = f" and {self._gpus:g} GPUs" * bool(self._gpus)
            raise BadInput(f"--engine ray: no node of the cluster has {self._cpus:g} CPUs{gpus} for a fleet.")

    @property
    def slots(self) -> list[Slot]:
        return list(self._slots)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is in training; what was finished has been kept."""
        for slot in self.slots:
            self._drop(slot)
        if self._is_ours:
            self._ray.shutdown()

    def submit(self, slot: Slot, job: Job | TrialJob) -> None:
        assert isinstance(job, Job), "plug-ins are tried here"
        slot.job, slot.run_steps, slot.plugins = job, 0, job.plugins
        try:
            parents = [self._put(job.folder, parent) for parent in job.parents if parent]
        except MissingWeights as missing:
            self._waiting.append((slot, missing))
            return
        parcel = travel.pack(job.plugins)
        apart = {"SYNTHBENCH_PLUGINS": parcel.sha256 if job.plugins else ""}  # a process of its own for other plug-ins
        task = self._task.options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0, num_returns="streaming",
            runtime_env={"env_vars": {**ENVIRONMENT, **apart}},
        )  # fmt: skip
        self._streams[slot] = task.remote(replace(job, folder=Path()), parcel, self._device, code_here(), *parents)

    def restart(self, slot: Slot) -> None:
        self._end(slot)
        slot.is_ready, slot.plugins = False, ()
        self._waiting.append((slot, Ready()))

    def retire(self, slot: Slot) -> None:
        self._drop(slot)
        self._retired += 1

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        if time.monotonic() - self._looked > LOOK:
            self._fit()
        waiting, self._waiting = self._waiting, []
        yield from waiting
        slots = {stream: slot for slot, stream in self._streams.items()}
        if not slots:
            time.sleep(0 if waiting else seconds)
            return
        ready, _ = self._ray.wait([*slots], timeout=0 if waiting else seconds, fetch_local=False)
        if ready:  # and all others that are ready, too
            ready, _ = self._ray.wait([*slots], num_returns=len(slots), timeout=0, fetch_local=False)
        for stream in ready:
            if self._streams.get(slots[stream]) is stream:  # an earlier message may have ended its slot
                yield slots[stream], self._next(slots[stream])

    def _next(self, slot: Slot) -> Message:
        """The next message of a slot's task."""
        errors = self._ray.exceptions
        message: Message | Sent
        try:
            message = self._ray.get(next(self._streams[slot]))
        except errors.OutOfMemoryError:
            message = MemoryError()
        except (errors.NodeDiedError, errors.ObjectLostError):  # the node was lost before its outcome was fetched
            message = Lost()
        except errors.WorkerCrashedError:
            message = Died(None)
        except errors.RayError as error:
            message = Failed(f"Ray failed: {error}")
        if isinstance(message, int):
            return message
        del self._streams[slot]
        assert isinstance(slot.job, Job)
        return kept(message, slot.job.folder) if isinstance(message, Sent) else message

    def _put(self, folder: Path, parent: WeightFile) -> Any:
        """A file of weights in the object store, where it is put once for the fleets that start from it."""
        found = self._parents.pop(parent.name, None) or self._ray.put(checked(folder, parent))
        self._parents[parent.name] = found
        if len(self._parents) > MOST_PARENTS:
            del self._parents[next(iter(self._parents))]
        return found

    def _drop(self, slot: Slot) -> None:
        self._end(slot)
        self._slots.remove(slot)

    def _end(self, slot: Slot) -> None:
        if (stream := self._streams.pop(slot, None)) is not None:
            self._ray.cancel(stream, force=True)
        self._waiting = [(of, message) for of, message in self._waiting if of is not slot]

    def _fit(self) -> None:
        """As many slots as fleets have room in the nodes that there are: nodes come, and go."""
        self._looked = time.monotonic()
        nodes = sum(self._room(node["Resources"]) for node in self._ray.nodes() if node["Alive"])
        room = max(0, min(self._size, nodes) - self._retired)
        idle = [slot for slot in self._slots if slot.job is None and slot.is_ready]
        for slot in idle[: max(0, len(self._slots) - room)]:
            self._drop(slot)
        for _ in range(room - len(self._slots)):
            self._slots.append(Slot())
            self._waiting.append((self._slots[-1], Ready()))

    def _room(self, resources: dict[str, float]) -> int:
        """How many fleets a node has room for."""
        needs = [(resources.get("CPU", 0.0), self._cpus), (resources.get("GPU", 0.0), self._gpus)]
        return min(int(have / need + 1e-9) for have, need in needs if need)


def imported() -> Any:
    """Ray; raises BadInput where it is not installed."""
    try:
        import ray
    except ModuleNotFoundError:
        raise BadInput(NO_RAY) from None
    return ray


def connect(module: Any, engine: Engine) -> None:
    """Joins a running cluster, or starts one here. Signals stay with the handlers that they had."""
    if engine.address:
        check_reachable(engine.address)
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of streams whose outcome is here, or no longer wanted
    if not engine.address:  # Ray's workers yield to every other process by default, those of the local engine do not
        os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray").setLevel(logging.WARNING)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        own = {} if engine.address else {"include_dashboard": False}
        module.init(engine.address or "local", log_to_driver=False, configure_logging=False, **own)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        where = f"--address {named(engine.address)}" if engine.address else "--engine ray"
        raise BadInput(f"{where}: no Ray cluster could be joined: {str(error).strip().splitlines()[0]}") from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def check_reachable(address: str) -> None:
    """Raises BadInput where nothing listens at `host:port`: Ray itself tries for minutes. Other forms of address are Ray's
    to judge."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), 5).close()
        except (OSError, OverflowError) as error:
            raise BadInput(f"--address {named(address)}: no Ray cluster could be joined: {error}.") from None


def kept(sent: Sent, folder: Path) -> Message:
    """Writes the weights that came with an outcome; returns the outcome, or why they could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in sent.weights.items():
            write_whole(folder / name, content)
    except OSError as error:
        return unwritable(folder, error)
    return sent.outcome
