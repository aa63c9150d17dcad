"""Where the time of `synthbench run` goes: the command in one process, with the clock of its core on every phase.

    python -m tests.benchmarks.phases --optimizer muon      prints core-seconds by phase as JSON

Workers would train the same fleets, two at a time. A phase's time does not hold that of a phase within it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any
from unittest.mock import patch

from synthbench.execution.process_pool import ENVIRONMENT

REST = "the rest"


class Clock:
    """Core-seconds by phase; a phase that starts within another stops the other's."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._phases, self._since = [REST], process_time()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._phases.append(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn()
                self._phases.pop()

        return call

    def _turn(self) -> None:
        now = process_time()
        self.spent[self._phases[-1]] = self.spent.get(self._phases[-1], 0.0) + now - self._since
        self._since = now

    def stop(self) -> dict[str, float]:
        self._turn()
        return dict(sorted(self.spent.items(), key=lambda item: -item[1]))


def profile(arguments: Sequence[str]) -> dict[str, float]:
    """Core-seconds by phase of `synthbench run` with these arguments."""
    clock = Clock()

    def imported() -> None:
        import torch

        torch.set_num_threads(1)
        from synthbench.execution import relearning  # noqa: F401

    clock.timed("imports", imported)()
    from synthbench.execution import engine, fleet_job, observe, worker
    from synthbench.interface import commands, outcome
    from synthbench.store.results import Store
    from synthbench.trainer.loop import Steps
    from tests.inprocess import InProcess

    phases: list[tuple[Any, str, str]] = [
        (Steps, "take", "training steps"),
        (fleet_job.Recorder, "__call__", "looks"),
        (observe, "item_sets", "items to score, and their floors"),
        (fleet_job, "data", "data and its order"),
        (fleet_job, "build", "weights to start from"),
        (fleet_job, "run_scores", "scores"),
        (fleet_job, "to_bytes", "observations and weights written"),
        (fleet_job, "write_weights", "observations and weights written"),
        (worker, "run_fleet", "the rest of a fleet"),
        (Store, "keep", "store"),
        (commands, "resolve", "plan"),
        (commands.reports, "of_folder", "report"),
    ]
    patches = [patch.object(owner, name, clock.timed(phase, getattr(owner, name))) for owner, name, phase in phases]
    patches.append(patch.object(engine, "local", lambda: InProcess))  # type: ignore[arg-type]
    for one in patches:
        one.start()
    sys.argv = ["synthbench", "run", *arguments]
    code = outcome.outcome()
    if code:
        sys.exit(code)
    return clock.stop()


def restarted() -> None:
    """Starts this process again with the allocator settings of a worker, which are read at the start."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        path = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        words = [sys.executable, "-P", "-m", "tests.benchmarks.phases", *sys.argv[1:]]
        os.execve(sys.executable, words, os.environ | ENVIRONMENT | path)


if __name__ == "__main__":
    restarted()
    real, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(profile(sys.argv[1:])), file=real)
