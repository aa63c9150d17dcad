"""A worker process: it trains fleets one after the other, with one thread, and dies with its parent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process

from synthbench.common.errors import BadInput, Failed
from synthbench.common.wording import named
from synthbench.execution.executor import Outcome, Ready
from synthbench.execution.fleet_job import Job, run_fleet
from synthbench.plugins import Origin, restore
from synthbench.store.weights import MissingWeights

# parts of torch's messages where it raises a plain RuntimeError for lack of memory
NO_MEMORY = ("allocate memory", "bad_alloc", "out of memory", "ALLOC_FAILED")


def serve(pipe: Connection, device: str, plugins: Sequence[Origin] = ()) -> None:
    """Loads plug-ins, sends Ready, then reads jobs; answers each with run-steps and an Outcome."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the main process decides what an interrupt means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.stdout = sys.stderr  # a user's optimizer may print; standard output is for results
    try:
        import torch

        torch.set_num_threads(1)
        for origin in plugins:
            restore(origin)
    except BadInput as error:
        pipe.send(error)
        return
    except Exception:
        pipe.send(Failed(traceback.format_exc()))
        return
    pipe.send(Ready())
    while True:
        job = pipe.recv()
        pipe.send(_outcome(job, device, _reporter(pipe, len(job.runs))))


def _outcome(job: Job, device: str, report: Callable[[int], None]) -> Outcome:
    import torch

    try:
        return run_fleet(job, device, report)
    except (MissingWeights, BadInput) as error:  # BadInput: of an optimizer, or of a generator that fails at some seed
        return error
    except OSError as error:  # a worker writes weights alone; those that it cannot read raise MissingWeights
        what = f"{named(job.folder)} could not be written ({error.strerror})"
        return Failed(f"{what}; finished runs are kept, make room and rerun the command.")
    except Exception as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_memory and not (isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)):
            return Failed(traceback.format_exc())
    if device == "cuda":
        torch.cuda.empty_cache()
    return MemoryError()


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
            pipe.send((step - sent) * runs)
            last, sent = time.monotonic(), step

    return report
