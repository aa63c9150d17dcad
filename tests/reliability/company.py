"""Training beside a busy competitor: throughput should fall by the competitor's share of the processors, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from synthbench.execution.executor import Progress, Ready
from synthbench.execution.fleet_job import Job
from synthbench.execution.process_pool import ProcessPool
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from tests.reliability import program
from tests.reliability.campaign import Campaign

PROMISE = (
    "beside one busy competitor the workers keep at least the share of the processors that it leaves them, within a tenth "
    "of it"
)
WINDOW, WARM = 4.0, 5.0  # seconds
TOLERANCE = 0.1  # windows of some seconds are noisy
WORKERS, FLEET = 2, 4


def campaign(folder: Path, trials: int) -> Campaign:
    """So many pairs of windows, with the competitor stopped and let go in turns; throughput with over without."""
    found = Campaign("company", PROMISE)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    busy.send_signal(signal.SIGSTOP)
    wake, other = os.pipe()
    ratios, shares = [], []
    try:
        with ProcessPool(WORKERS, "cpu") as pool:
            long = ["stages.pretrain.steps=100000"]
            experiment = resolve(RunRequest("quick", ["adamw"], seeds=WORKERS * FLEET, settings=long, device="cpu"))
            runs = Plan(experiment, {}).ready()
            for number, slot in enumerate(pool.slots):
                fleet = runs[number * FLEET :][:FLEET]
                card = next(iter(experiment.tasks.values())).card
                pool.submit(slot, Job(fleet, card, [None] * FLEET, folder, [1] * FLEET))
            _steps(pool, wake, WARM)
            while _steps(pool, wake, 1.0) == 0:  # torch may take longer to import
                pass
            for _ in range(trials):
                alone = _steps(pool, wake, WINDOW)
                before = program.cpu_seconds(busy.pid)
                busy.send_signal(signal.SIGCONT)
                beside = _steps(pool, wake, WINDOW)
                busy.send_signal(signal.SIGSTOP)
                shares.append((program.cpu_seconds(busy.pid) - before) / WINDOW / WORKERS)
                ratios.append(beside / alone)
                found.tried("a pair of windows")
    finally:
        busy.kill()
        busy.wait()
        os.close(wake)
        os.close(other)
    ratio, left = median(ratios), 1 - median(shares)
    found.outcomes[f"throughput beside it over alone: median {ratio:.2f}, of processors left: {left:.2f}"] = len(ratios)
    if ratio < left * (1 - TOLERANCE):
        found.broken.append(f"throughput fell to {ratio:.2f} where {left:.2f} of the processors were left")
    return found


def _steps(pool: ProcessPool, wake: int, seconds: float) -> float:
    """Run-steps per second of a pool over a time."""
    start, steps = time.monotonic(), 0
    while (passed := time.monotonic() - start) < seconds:
        for _, message in pool.messages(seconds - passed, wake):
            assert isinstance(message, Progress | Ready), message
            steps += message.run_steps if isinstance(message, Progress) else 0
    return steps / (time.monotonic() - start)
