"""Milliseconds of a step a run, torch's path against the native one, interleaved, one thread.

    python -m tests.benchmarks.native_steps [--models tiny,compact] [--sizes 1,4,8] [--rounds 9]

Steps are those of `quick`: 64 examples of rote-vs-rule, AdamW, SGD and Muon, full and lora-16. Times are of the processor,
so that other processes disturb them less; each is the median over rounds. The last column is the relative distance of the
weights of both paths after all steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from synthbench.cards import MODELS, TaskCard, load
from synthbench.execution import fleet_setup
from synthbench.generators import Task
from synthbench.trainer import layout as layouts
from synthbench.trainer import step as torch_step
from synthbench.trainer.fleet import Fleet, initialize
from synthbench.trainer.loop import Data, first_position
from synthbench.trainer.native import build, gradients
from synthbench.trainer.native import step as native_step
from synthbench.trainer.optimizer import FleetOptimizer

CPU, BATCH, STEPS = torch.device("cpu"), 64, 6  # STEPS: of a round
PATHS: dict[str, Callable[..., Tensor]] = {"torch": torch_step.training_step, "native": native_step.training_step}
Batch = tuple[Tensor, Tensor, int]


def setup(model: str, runs: int, optimizer: str, update: str) -> tuple[FleetOptimizer, Data]:
    """A fleet from fresh weights, and its data."""
    task, card = Task(load(TaskCard, "rote-vs-rule")), MODELS[model]
    stage = "pretrain" if update == "full" else "finetune"
    made_of = {"stage": stage, "batch": BATCH, "examples": {}, "steps": 200, "task": "rote-vs-rule", "salt": ""}
    wanted: list[Any] = [SimpleNamespace(seed=seed, **made_of) for seed in range(runs)]
    layout = layouts.transformer(card, task.language.vocabulary, task.language.length - 1)
    fleet = Fleet(card, layout, initialize(layout, card, range(runs), CPU), update, range(runs))
    return FleetOptimizer(optimizer, fleet), fleet_setup.data(task, wanted)


def batches(data: Data) -> Iterator[Batch]:
    tokens_KNL, answer_KNL = torch.from_numpy(data.tokens_KNL).long(), torch.from_numpy(data.answer_KNL)
    rows_K1 = torch.arange(len(tokens_KNL))[:, None]
    while True:
        for indices_KB in torch.from_numpy(data.order_KTB).long().transpose(0, 1):
            yield tokens_KNL[rows_K1, indices_KB], answer_KNL[rows_K1, indices_KB], first_position(data.answer_KNL)


def race(model: str, runs: int, optimizer: str, update: str, rounds: int) -> tuple[dict[str, float], float]:
    """Milliseconds of a step a run by path, and how far apart the weights are at last."""
    fleets = {path: setup(model, runs, optimizer, update) for path in PATHS}
    shown, rates = batches(fleets["torch"][1]), (torch.full((runs,), 1e-3), torch.full((runs,), 0.1))
    times: dict[str, list[float]] = {path: [] for path in PATHS}
    for turn in range(rounds + 1):  # the first is not timed
        drawn = [next(shown) for _ in range(STEPS)]
        for path, take in PATHS.items():
            start = time.process_time()
            for step, batch in enumerate(drawn, start=turn * STEPS + 1):
                take(fleets[path][0], *batch, step, rates)
            times[path].append((time.process_time() - start) / STEPS / runs * 1e3)
    one, other = (made.fleet.flat_KP.detach() for made, _ in fleets.values())
    return {path: median(of_path[1:]) for path, of_path in times.items()}, float((one - other).norm() / one.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny,compact")
    parser.add_argument("--sizes", default="1,4,8")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    gradients.load(build.library(print))
    heads = ("model", "optimizer", "update", "K", "torch ms", "native ms", "ratio", "distance")
    print(*heads, sep=" | ")
    print(*["---"] * len(heads), sep=" | ")
    sizes = map(int, options.sizes.split(","))
    cases = product(options.models.split(","), ("adamw", "sgd", "muon"), ("full", "lora-16"), sizes)
    for model, optimizer, update, runs in cases:
        ms, apart = race(model, runs, optimizer, update, options.rounds)
        line = (model, optimizer, update, runs, f"{ms['torch']:.2f}", f"{ms['native']:.2f}")
        print(*line, f"{ms['torch'] / ms['native']:.2f}", f"{apart:.0e}", sep=" | ", flush=True)


if __name__ == "__main__":
    main()
