"""A worker trains fleets, one after the other, in a process of its own with one thread; it dies with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from typing import NamedTuple

from synthbench.experiment.training import run_fleet


class Progress(NamedTuple):
    run_steps: int  # trained since the last message


class Broken(NamedTuple):
    text: str  # the traceback


def serve(pipe: Connection, device: str) -> None:
    """Reads jobs from the pipe until None comes; answers with Progress messages, then a list of Trained, or Broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what an interrupt means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while (job := pipe.recv()) is not None:
        try:
            pipe.send(run_fleet(job, device, _reporter(pipe, len(job.runs))))
        except Exception:
            pipe.send(Broken(traceback.format_exc()))


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _reporter(pipe: Connection, runs: int, every: float = 0.2) -> Callable[[int], None]:
    last, sent = time.monotonic(), 0

    def report(step: int) -> None:
        nonlocal last, sent
        if time.monotonic() - last > every:
            pipe.send(Progress((step - sent) * runs))
            last, sent = time.monotonic(), step

    return report
