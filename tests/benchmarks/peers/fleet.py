"""Our fleets, by the loop that trains every run of a command, on each path."""

from __future__ import annotations

from synthbench.trainer import loop
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


def native_path(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    """The same with the native step: what `taken` puts in the loop's place, for a call alone, as others share a process."""
    from synthbench.trainer.native.path import NATIVE, taken

    with taken(NATIVE):
        native = vars(loop)["training_step"]
    way = torch_path(shape, optimizer, update, runs)

    def call() -> float:
        torchs, vars(loop)["training_step"] = vars(loop)["training_step"], native
        try:
            return way.call()
        finally:
            vars(loop)["training_step"] = torchs

    return way._replace(call=call)
