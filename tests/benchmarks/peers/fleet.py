"""Our fleets, by the loop that trains every run of a command, on each path."""

from __future__ import annotations

from synthbench.trainer.loop import Steps
from synthbench.trainer.native import path as paths
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests.benchmarks.peers import Way
from tests.benchmarks.shapes import DECAY, RATES, STEPS, Shape, data, fleet


def torch_path(shape: Shape, optimizer: str, update: str, runs: int, path: str = paths.TORCH) -> Way:
    seeds_K, trained = range(runs), fleet(shape, range(runs), update)
    trained.native = paths.of(path)
    moved = FleetOptimizer(optimizer, trained)
    rates = [RATES[optimizer]] * runs, [DECAY] * runs
    steps = Steps(moved, data(shape, seeds_K), Schedule(STEPS, "constant", 0.0), rates)
    count = -1

    def call() -> float:
        nonlocal count
        count += 1
        steps.take(count % STEPS)
        return float(steps.curve_TK[count % STEPS, 0])

    return Way(call, trained.trainable.size)


def native_path(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    """The same with the native step."""
    return torch_path(shape, optimizer, update, runs, paths.NATIVE)
