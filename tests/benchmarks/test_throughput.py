"""How fast: training against the plain loop, drawing, and what scoring costs beside training. Run with -m timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from synthbench.cards import TaskCard, load
from synthbench.execution.fleet_job import Job
from synthbench.execution.process_pool import environment
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from synthbench.generators import Task
from tests.benchmarks import contest

pytestmark = pytest.mark.timed

ROUNDS = 5  # of each side, taken in turns
WORKERS, FLEET = 2, 4
BUSY = 0.02  # by so much a share of time strays on a machine that does other things, too


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Keeps this process, and those it starts, to two cores, the size of machine that `quick` is made for."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip(f"needs two cores, and this process may use {len(cores)}")
    os.sched_setaffinity(0, cores[:2])
    yield
    os.sched_setaffinity(0, cores)


def quick(optimizer: str, seeds: int = 3, *settings: str) -> tuple[Experiment, TaskCard]:
    experiment = resolve(RunRequest("quick", [optimizer], seeds=seeds, settings=settings, device="cpu"))
    return experiment, experiment.tasks["rote-vs-rule"].card


def pretraining(optimizer: str, steps: int, seeds: int) -> tuple[list[Run], TaskCard]:
    """Runs of quick's first stage."""
    experiment, card = quick(optimizer, seeds, f"stages.pretrain.steps={contest.WARM + steps}")
    return Plan(experiment, {}).ready(), card


def finetuning(optimizer: str, folder: Path) -> list[Job]:
    """Of quick's last stage a fleet for each update, from fresh weights."""
    experiment, card = quick(optimizer)
    scores = {"validation_learning": 0.0, "validation_loss": 0.0}
    done = {run.id: Result(run.id, "ok", scores) for run in Plan(experiment, {}).ready()}
    jobs = []
    for update in experiment.card.stages[-1].update:
        found = [run for run in Plan(experiment, done).ready() if run.update == update][:FLEET]
        runs = [replace(run, parent=None) for run in found]
        jobs.append(Job(runs, card, [None] * len(runs), folder, [1] * len(runs)))
    return jobs


@pytest.mark.parametrize(("optimizer", "plain"), [("adamw", "adamw"), ("muon", "torch-muon"), ("muon", "muon")])
def test_fleets_train_half_as_fast_again_as_the_plain_loop(
    optimizer: str, plain: str, two_cores: None, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    """Run-steps per second on two cores at quick's shape, each side's median over rounds taken in turns.

    torch's Muon multiplies in bfloat16, which some CPUs are slow at; `muon` is the same loop in float32.
    """
    runs, card = pretraining(optimizer, steps=50, seeds=WORKERS * FLEET)
    dealt = [(card, runs[begin : begin + FLEET], tmp_path) for begin in range(0, len(runs), FLEET)]
    alone = pretraining(optimizer, steps=80, seeds=1)[0][0]
    teams = {
        "fleets": contest.Team(contest.train_fleets, dealt, environment()),
        "plain": contest.Team(contest.train_alone, [(card, alone, plain)], nullcontext()),
    }
    rates = {name: list[float]() for name in teams}

    def take_turns() -> None:
        rates["fleets"].append(50 * len(runs) / teams["fleets"].race())
        rates["plain"].append(80 / teams["plain"].race())

    try:
        benchmark.pedantic(take_turns, rounds=ROUNDS)
    finally:
        for team in teams.values():
            team.close()
    ratio = median(rates["fleets"]) / median(rates["plain"])
    benchmark.extra_info |= {"ratio": ratio, "run_steps_per_second": rates}
    assert ratio >= 1.5, rates


def test_drawing_a_million_examples_takes_seconds(
    benchmark: BenchmarkFixture, measured: Callable[[str, float, float], None]
) -> None:
    """Promised: two."""
    card = load(TaskCard, "rote-vs-rule")
    language = card.language.model_copy(update={"syllables": 128})
    task, seconds = Task(card.model_copy(update={"language": language})), list[float]()

    def draw() -> None:
        start = perf_counter()
        drawn = task.draw("finetune", 0, {"fact": 500_000, "rule": 500_000})
        seconds.append(perf_counter() - start)
        assert sum(len(splits.train) for splits in drawn.values()) == 1_000_000

    benchmark.pedantic(draw, rounds=3)
    measured("drawing a million examples", min(seconds), 5)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_scoring_takes_at_most_three_tenths_of_a_finetuning_fleets_time(
    optimizer: str, two_cores: None, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    """Over a fleet of each update as quick trains it, from its first weights to its last scores.

    The least favourable part of a run: pretraining is four times as long and looked at once. (It was a quarter before
    items with unseen parts were looked at, too.)
    """
    jobs = finetuning(optimizer, tmp_path)
    scoring, total = zip(*benchmark.pedantic(lambda: [contest.spent(job) for job in jobs], rounds=1), strict=True)
    share = sum(scoring) / sum(total)
    benchmark.extra_info |= {"share": share, "scoring": scoring, "total": total}
    assert share <= 0.3 + BUSY, (scoring, total)
