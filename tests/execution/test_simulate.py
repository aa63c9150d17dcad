"""A simulated schedule, against schedules by hand and against what was trained."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from synthbench.execution.pace import Pace, Paces
from synthbench.execution.simulate import schedule
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Result
from tests import tiny
from tests.calling import Caller

STEPS = Paces(0.0, 1, {"": Pace(0.0, 1.0, 0.0, 100)})  # a second a step


def test_schedules_by_hand(tmp_path: Path) -> None:
    """Two runs of 12 steps, from each of which two of 10 steps start."""
    experiment = tiny.experiment(tmp_path)
    alone = schedule(experiment, {}, STEPS, 1)
    assert (alone.seconds, alone.idle, alone.runs) == (2 * 12 + 4 * 10, 0.0, 6)
    assert alone.moved == 100 * (6 + 4)  # what every run leaves, and what four start from
    by_one = schedule(experiment, {}, STEPS, 2, fleet_size=1)
    assert (by_one.seconds, by_one.idle, by_one.fleets) == (12 + 2 * 10, 0.0, 6)
    many = schedule(experiment, {}, STEPS, 8, fleet_size=1)
    assert (many.seconds, many.busy) == (12 + 10, 64.0)
    assert many.idle == pytest.approx(1 - 64 / (8 * 22))


def test_what_is_done_takes_no_time(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path)
    first = [run for run in Plan(experiment, {}).remaining() if run.stage == "pretrain"]
    done = {run.id: Result(run.id, "ok", {"validation_learning": 0.0, "validation_loss": 0.0}) for run in first}
    assert schedule(experiment, done, STEPS, 1).seconds == 4 * 10
    assert (
        schedule(
            experiment, done | {run.id: done[first[0].id] for run in Plan(experiment, done).remaining()}, STEPS, 1
        ).runs
        == 0
    )


def test_a_plan_is_told_in_three_lines(call: Caller, tmp_path: Path) -> None:
    card = tiny.write(tmp_path)
    planned = call(f"plan {card} --gpus 2 --fleet-gpus 0.5 --speed 2 --out {tmp_path / 'none'}")
    assert planned.code == 0, planned.err
    size, costs, basis = planned.out.splitlines()
    assert size.startswith("tiny-runner: 6 runs, 64 run-steps, in ")
    assert size.endswith("4 at a time on 2 GPUs")
    assert re.fullmatch(r"about \d+ s, \d+ % idle, 0 GB of weights moved, 0.0\d+ GPU-hours", costs)
    assert "timed on this machine's" in basis
    assert "2 times as fast" in basis
    for wrong in (
        "--gpus 0 --cpus 0",
        "--speed 0",
        "--gpus 0 --cpus 8",
        "--gpus 2",
        "--gpus 1 --fleet-gpus 2",
        "--speed nan",
    ):
        assert call(f"plan {card} {wrong}").code == 2


@pytest.mark.timed
@pytest.mark.processes
def test_a_plan_is_within_a_fifth_of_what_it_takes(call: Caller, tmp_path: Path) -> None:
    """Of three attempts in one: what else the machine does changes between the few steps and the run."""
    steps = "--set stages.pretrain.steps=2000 --set stages.pretrain.extend=0 --set stages.finetune.extend=0 --seeds 4"

    def ratio(attempt: int) -> float:
        command = f"quick --optimizer adamw --update full {steps} --out {tmp_path / str(attempt)}"
        code, out, err = call(f"plan {command} --cpus 2")
        assert code == 0, err
        (told,) = re.findall(r"about (\d+) s", out)
        start = time.monotonic()
        assert call(f"run {command} --jobs 2 --quiet").code == 0
        return int(told) / (time.monotonic() - start)

    ratios: list[float] = []
    while len(ratios) < 3 and not any(0.8 < value < 1.2 for value in ratios):
        ratios.append(ratio(len(ratios)))
    assert any(0.8 < value < 1.2 for value in ratios), ratios
