"""Training beside a busy process: throughput falls by at most the share of processor time that this process takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from synthbench.execution.executor import Ready
from synthbench.execution.fleet_job import Job
from synthbench.execution.process_pool import ProcessPool
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from tests.reliability import program
from tests.reliability.campaign import Campaign

PROMISE = (
    "beside one busy process, throughput relative to throughput alone is at least the share of processor time that this "
    "process leaves (tolerance: a tenth of it)"
)
WINDOW, WARM_UP = 4.0, 5.0  # seconds
TOLERANCE = 0.1  # a window of some seconds is noisy
WORKERS, FLEET = 2, 4


def campaign(folder: Path, trials: int) -> Campaign:
    """Measures throughput with and without the busy process, in pairs of time windows; trials: the number of pairs."""
    result = Campaign("company", PROMISE)
    competitor = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    competitor.send_signal(signal.SIGSTOP)
    ratios, shares = [], []
    try:
        with ProcessPool(WORKERS, "cpu") as pool:
            settings = ["stages.pretrain.steps=100000"]
            experiment = resolve(RunRequest("quick", ["adamw"], seeds=WORKERS * FLEET, settings=settings, device="cpu"))
            runs = Plan(experiment, {}).ready()
            for index, slot in enumerate(pool.slots):
                fleet = runs[index * FLEET :][:FLEET]
                card = next(iter(experiment.tasks.values())).card
                pool.submit(slot, Job(fleet, card, [None] * FLEET, folder, [1] * FLEET))
            _throughput(pool, WARM_UP)
            while _throughput(pool, 1.0) == 0:  # importing torch may take longer
                pass
            for _ in range(trials):
                alone = _throughput(pool, WINDOW)
                before = program.cpu_seconds(competitor.pid)
                competitor.send_signal(signal.SIGCONT)
                disturbed = _throughput(pool, WINDOW)
                competitor.send_signal(signal.SIGSTOP)
                shares.append((program.cpu_seconds(competitor.pid) - before) / WINDOW / WORKERS)
                ratios.append(disturbed / alone)
                result.record("pair of time windows")
    finally:
        competitor.kill()
        competitor.wait()
    ratio, share_left = median(ratios), 1 - median(shares)
    result.outcomes[f"relative throughput: median {ratio:.2f}, processor share left: {share_left:.2f}"] = len(ratios)
    if ratio < share_left * (1 - TOLERANCE):
        result.violations.append(f"relative throughput is {ratio:.2f} at a processor share of {share_left:.2f}")
    return result


def _throughput(pool: ProcessPool, seconds: float) -> float:
    """Run-steps per second of a pool, measured for some seconds."""
    start, steps = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        for _, message in pool.messages(seconds - elapsed):
            assert isinstance(message, int | Ready), message
            steps += message if isinstance(message, int) else 0
    return steps / (time.monotonic() - start)
