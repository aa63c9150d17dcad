"""What runs on a node of a Ray cluster: one fleet, as in a worker process of this machine."""

from __future__ import annotations

import platform
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from synthbench.common.errors import Failed
from synthbench.execution import worker
from synthbench.execution.executor import Outcome, Ready
from synthbench.execution.fleet_job import Job
from synthbench.experiment import identity
from synthbench.plugins import travel
from synthbench.plugins.trial import Tried
from synthbench.trainer.native.path import NATIVE

_loaded: list[str] = []  # the parcel of plug-ins that this process has


class Sent(NamedTuple):
    """An outcome, and the files of weights that belong to it, by name."""

    outcome: Outcome
    weights: Mapping[str, bytes] = {}


def train(job: Job, parcel: travel.Parcel, device: str, code: str, *parents: bytes) -> Iterator[int | Sent]:
    """Trains a fleet. Yields run-steps as they are trained, at the end what came of it.

    code: `code_here` of the process that asks: other code would give a run other numbers under its id. parents: the content
    of the files of weights to start from, in the order of the job's.
    """
    messages: SimpleQueue[int | Sent] = SimpleQueue()

    def work() -> None:
        try:
            sent = _trained(job, parcel, device, code, parents, messages.put)
        except Exception:
            sent = Sent(Failed(traceback.format_exc()))
        messages.put(sent)

    Thread(target=work, daemon=True).start()
    while isinstance(message := messages.get(), int):
        yield message
    yield message


def code_here() -> str:
    """What must be alike on all nodes: the code that computes numbers, and torch's version."""
    code = sha256(f"{identity.package_fingerprint()} {identity.training_source(path=NATIVE)}".encode()).hexdigest()
    return f"{code[:16]}, torch {identity.torch_minor()}"


def _trained(
    job: Job, parcel: travel.Parcel, device: str, code: str, parents: Sequence[bytes], report: Callable[[int], None]
) -> Sent:
    if code != code_here():
        return Sent(Failed(
            f"Node {platform.node()} of the cluster has other code ({code_here()}; here {code}): install the same version "
            "of synthbench and of torch on all nodes."
        ))  # fmt: skip
    import torch

    torch.set_num_threads(1)  # of this thread
    if job.plugins and parcel.sha256 not in _loaded:
        if error := worker.load(travel.unpack(parcel)):
            return Sent(error)
        _loaded.append(parcel.sha256)
    with tempfile.TemporaryDirectory(prefix="synthbench-") as name:
        folder = Path(name)
        for parent, content in zip(filter(None, job.parents), parents, strict=True):
            (folder / parent.name).write_bytes(content)
        outcome = worker.answer(replace(job, folder=folder), device, report)
        assert not isinstance(outcome, Tried | Ready), "a fleet was asked for"
        trained = outcome if isinstance(outcome, list) else []
        return Sent(
            outcome, {one.weights.name: (folder / one.weights.name).read_bytes() for one in trained if one.weights}
        )
