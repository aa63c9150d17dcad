"""Our fleets, by the loop that trains every run of a command."""

from __future__ import annotations

from synthbench.trainer.loop import Steps
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests.benchmarks.peers import Way
from tests.benchmarks.shapes import DECAY, RATES, STEPS, Shape, data, fleet


def torch_path(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    seeds_K = range(runs)
    moved = FleetOptimizer(optimizer, fleet(shape, seeds_K, update))
    rates = [RATES[optimizer]] * runs, [DECAY] * runs
    steps = Steps(moved, data(shape, seeds_K), Schedule(STEPS, "constant", 0.0), rates)
    count = -1

    def call() -> float:
        nonlocal count
        count += 1
        steps.take(count % STEPS)
        return float(steps.curve_TK[count % STEPS, 0])

    return Way(call, moved.fleet.trainable.size)
