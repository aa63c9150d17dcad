"""A worker process: it trains fleets one after the other, with one thread, and dies with its parent.

It loads the plug-ins of its first job that has some, and from then on is given jobs with the same ones alone: whatever
their code does to the process, no other optimizer's numbers can see it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path

from synthbench.common.errors import BadInput, Failed, SynthbenchError
from synthbench.common.wording import named
from synthbench.execution.executor import Outcome, Ready, TrialJob
from synthbench.execution.fleet_job import Job, run_fleet
from synthbench.execution.probing import probed
from synthbench.plugins import Origin, made_with, restore
from synthbench.plugins.errors import is_out_of_memory
from synthbench.plugins.settings import preserved_settings
from synthbench.plugins.trial import Tried
from synthbench.store.weights import MissingWeights


def serve(pipe: Connection, device: str, environment: Mapping[str, str]) -> None:
    """Sends Ready, then reads jobs; answers each with run-steps and an Outcome, or with what a trial showed. environment:
    in place of that in which the server of workers was started."""
    os.environ.clear()
    os.environ.update(environment)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the main process decides what an interrupt means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.stdout = sys.stderr  # a user's optimizer may print; standard output is for results
    try:
        import torch

        torch.set_num_threads(1)
    except Exception:
        pipe.send(Failed(traceback.format_exc()))
        return
    pipe.send(Ready())
    loaded = False
    while True:
        job = pipe.recv()
        error, loaded = None if loaded else load(job.plugins), loaded or bool(job.plugins)
        pipe.send(error or answer(job, device, pipe.send))


def load(plugins: Sequence[Origin]) -> SynthbenchError | None:
    """Loads plug-ins; returns why they cannot be."""
    try:
        for origin in plugins:
            restore(origin)
    except BadInput as error:
        return error
    except Exception:
        return Failed(traceback.format_exc())
    return None


def answer(job: Job | TrialJob, device: str, send: Callable[[int], None]) -> Outcome | Tried | Ready:
    """What a job comes to. send: takes run-steps that were trained since it was called last."""
    if isinstance(job, TrialJob):
        from synthbench.plugins.checks import tried

        try:
            return tried(job.trial) if job.trial else Ready()
        except BadInput as error:
            return error
        except Exception:
            return Failed(traceback.format_exc())
    with preserved_settings() as changed:
        outcome = _outcome(job, device, _reporter(send, len(job.runs)))
    if not isinstance(outcome, list):
        return outcome
    noted = made_with(job.runs[0].optimizer.name, changed)
    results = [replace(one.result, versions={**one.result.versions, **noted}) for one in outcome]
    return [one._replace(result=result) for one, result in zip(outcome, results, strict=True)]


def _outcome(job: Job, device: str, report: Callable[[int], None]) -> Outcome:
    import torch

    from synthbench.execution.remedied import run_remedied

    try:
        trained = run_remedied(job, device, report) if job.runs[0].remedy else run_fleet(job, device, report)
        return probed(job, trained, device) if job.runs[0].probes else trained
    except (MissingWeights, BadInput) as error:  # BadInput: of an optimizer, or of a generator that fails at some seed
        return error
    except OSError as error:  # a worker writes weights alone; those that it cannot read raise MissingWeights
        return unwritable(job.folder, error)
    except Exception as error:
        if not is_out_of_memory(error):
            return Failed(traceback.format_exc())
    if device == "cuda":
        torch.cuda.empty_cache()
    return MemoryError()


def unwritable(folder: Path, error: OSError) -> Failed:
    """That weights could not be written."""
    what = f"{named(folder)} could not be written ({error.strerror})"
    return Failed(f"{what}; finished runs are kept, make room and rerun the command.")


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _reporter(send: Callable[[int], None], runs: int, every: float = 0.2) -> Callable[[int], None]:
    last, sent = time.monotonic(), 0

    def report(step: int) -> None:
        nonlocal last, sent
        if time.monotonic() - last > every:
            send((step - sent) * runs)
            last, sent = time.monotonic(), step

    return report
