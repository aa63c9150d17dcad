"""How long a dry run says that runs will take."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from synthbench.execution import pace
from synthbench.execution.pace import Pace
from synthbench.experiment.plan import Plan
from tests import tiny
from tests.calling import Caller
from tests.conftest import MEASURE


def test_a_run_takes_its_steps_and_its_evaluations(tmp_path: Path) -> None:
    run = replace(Plan(tiny.experiment(tmp_path), {}).remaining()[0], steps=100, points=11, relearn=20)
    assert Pace(fixed=1.0, step=0.1, point=0.5).seconds(run) == pytest.approx(1.0 + 120 * 0.1 + 10 * 0.5)
    known = pace.Paces(0.0, 1, {run.kind: Pace(1.0, 0.0, 0.0, 10), "another": Pace(3.0, 0.0, 0.0, 20)})
    assert (known.seconds(run), known.weights(run)) == (1.0, 10)
    other = replace(run, batch=2 * run.batch)
    assert (known.seconds(other), known.weights(other)) == (2.0, 15)  # not measured: the mean of those that were


def test_kinds_beyond_the_budget_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, measured = tiny.experiment(tmp_path), list[str]()
    task = next(iter(experiment.tasks.values()))
    monkeypatch.setattr(pace, "_pace", lambda fleet, *_: measured.append(fleet[0].stage) or Pace(0.5, 0.0, 0.0))
    runs = Plan(experiment, {}).remaining()
    stages = {run.stage for run in runs}
    paces = MEASURE(runs, lambda run: task, 1)
    assert (paces.slots, {paces.seconds(run) for run in runs}) == (1, {0.5})
    assert set(measured) == stages
    monkeypatch.setattr(pace, "BUDGET", -1.0)
    measured.clear()
    MEASURE(runs, lambda run: task, 1)
    assert len(measured) == 1  # one is always measured


@pytest.mark.timed
@pytest.mark.processes
def test_a_dry_run_tells_the_time_within_thirty_percent(call: Caller, tmp_path: Path) -> None:
    """Of a built-in optimizer and a plug-in, whose steps take longer, on a model that no other card has."""
    steps = "--set stages.pretrain.steps=400 --set stages.pretrain.extend=0 --set stages.finetune.extend=0"
    model = "--set 'model={width=96, layers=2, head_width=16}'"
    command = f"run --optimizer sgd,torch.optim:Adamax --seeds 2 --update full {steps} {model} --out {tmp_path}/out"
    code, out, err = call(f"{command} --dry-run")
    assert code == 0, err
    (told,) = re.findall(r"about (\d+) s here", out)
    start = time.monotonic()
    assert call(f"{command} --quiet").code == 0
    assert 0.7 < int(told) / (time.monotonic() - start) < 1.3
