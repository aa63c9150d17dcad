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

from synthbench.common.errors import BadInput
from synthbench.execution.executor import Broken, LostWeights, NoMemory, Outcome, Progress, Ready, Refused, Unwritable
from synthbench.execution.fleet_job import Job, run_fleet
from synthbench.plugins import Origin, restore
from synthbench.store.weights import MissingWeights

# parts of torch's messages when memory runs out, where it has no exception of its own for that
NO_MEMORY = ("allocate memory", "bad_alloc", "out of memory", "ALLOC_FAILED")


def serve(pipe: Connection, device: str, plugins: Sequence[Origin] = ()) -> None:
    """Loads plug-ins, sends Ready, then reads jobs; answers each with Progress messages and an Outcome."""
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
        pipe.send(Refused(str(error)))
        return
    except Exception:
        pipe.send(Broken(traceback.format_exc()))
        return
    pipe.send(Ready())
    while True:
        job = pipe.recv()
        pipe.send(_outcome(job, device, _reporter(pipe, len(job.runs))))


def _outcome(job: Job, device: str, report: Callable[[int], None]) -> Outcome:
    import torch

    try:
        return run_fleet(job, device, report)
    except MissingWeights:
        return LostWeights()
    except BadInput as error:  # of an optimizer, or of a generator that fails at some seed
        return Refused(str(error))
    except (MemoryError, torch.OutOfMemoryError):
        outcome: Outcome = NoMemory()
    except RuntimeError as error:
        outcome = NoMemory() if any(sign in str(error) for sign in NO_MEMORY) else Broken(traceback.format_exc())
    except OSError as error:  # a worker writes weights alone; those that it cannot read raise MissingWeights
        return Unwritable(str(error.strerror))
    except Exception:
        return Broken(traceback.format_exc())
    if device == "cuda":
        torch.cuda.empty_cache()
    return outcome


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
