"""Several processes on one folder: all finish, each run is trained by one of them, their tables agree."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tests.reliability import program
from tests.reliability.campaign import Campaign
from tests.reliability.killed import QUICK, SETTINGS, undisturbed

PROMISE = (
    "every process ends with exit code 0, the runs that they trained add up to the runs of the experiment, their tables "
    "are the same to the last digit, and scores are bitwise those of a process alone"
)


def campaign(folder: Path, trials: int, seed: int = 0) -> Campaign:
    """Two processes at once, then five, and so on; in every third trial one of them is killed on the way."""
    found = Campaign("together", PROMISE)
    expected, seconds = undisturbed(folder)
    for number in range(trials):
        count, is_killed = (2, 5)[number % 2], number % 3 == 2
        out = folder / str(number)
        with ExitStack() as stack:
            options = (*QUICK[1:], "--jobs", "1")
            processes = [
                stack.enter_context(program.started(QUICK[0], out, *options, settings=SETTINGS)) for _ in range(count)
            ]
            if is_killed:
                time.sleep(seconds / 2)
                is_killed = processes[0].poll() is None  # else it was too late
                processes[0].kill()
            ends = [process.communicate(timeout=program.PATIENCE) for process in processes]
        codes, results = [process.returncode for process in processes], program.results(out)
        broken = []
        if codes != [-signal.SIGKILL if is_killed and process is processes[0] else 0 for process in processes]:
            broken.append(f"exit codes {codes}: {[err[-300:] for _, err in ends]}")
        elif len({table for table, _ in ends if table}) != 1:
            broken.append("tables differ")
        elif not is_killed and sum(program.trained(err) for _, err in ends) != len(expected):
            broken.append(f"trained {[program.trained(err) for _, err in ends]} of {len(expected)} runs")
        if program.numbers(results) != program.numbers(expected):
            broken.append("scores differ from those of a process alone")
        found.tried(f"{count} at once" + (", one killed" if is_killed else ""), *broken)
    return found
