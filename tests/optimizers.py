"""Optimizers of other packages on the command line, as a page: `python -m tests.optimizers > reports/optimizers.md`.

Reads the results of `COMMAND`, measures the cost of a step of each optimizer, and tries every other class of the package.
"""

from __future__ import annotations

import io
import os
import shlex
import warnings
from collections.abc import Mapping
from contextlib import closing, redirect_stderr
from dataclasses import replace
from pathlib import Path
from time import process_time
from unittest.mock import patch

from synthbench.analysis.rows import Row
from synthbench.common.errors import BadInput
from synthbench.execution import process_pool
from synthbench.execution.trials import tried
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Run
from synthbench.generators import Task
from synthbench.reporting import report as reports
from synthbench.reporting import table
from synthbench.reporting.report import View
from synthbench.store.results import Store
from tests import inprocess

OUT = "optimizers-results"
PACKAGE = "pytorch_optimizer"
DECOUPLED = {"weight_decouple": "true"}  # else the card's weight decay of 0.1 is added to the gradient
TORCH = ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "Muon", "NAdam", "RAdam", "RMSprop", "Rprop",
         "SGD")  # without LBFGS, which needs a closure, and SparseAdam, which needs sparse gradients  # fmt: skip
OTHERS = ("AdaGO", "AdaMuon", "AdamMini", "CAME", "Lamb", "Lion", "MARS", "NorMuon", "Prodigy", "ScheduleFreeAdamW",
          "SignSGD", "SOAP", "StableAdamW")  # fmt: skip
# Settings of each optimizer by name, as `--set optimizer.KEY=VALUE` takes them.
NEEDS: dict[str, dict[str, str]] = {
    **{name: {} for name in ("adamw", "muon", "sgd")},
    **{f"torch.optim:{name}": {} for name in TORCH},
    **{f"{PACKAGE}:{name}": {} for name in OTHERS},
    **{f"{PACKAGE}:{name}": DECOUPLED for name in ("ADOPT", "AdEMAMix", "Adan", "Shampoo")},
    "examples/sophia.py:sophia": {},
}
# Rates by stage where a constructor's default is none to try: 1.0 of Adam-mini. As many as the others have.
RATES = {f"{PACKAGE}:AdamMini": "[1e-4, 3e-4, 1e-3, 3e-3, 1e-2]"}
SETTINGS = [
    *(f'arguments."{name}".{key}={value}' for name, needs in NEEDS.items() for key, value in needs.items()),
    *(f'stages.{stage}.lr."{name}"={rates}' for name, rates in RATES.items() for stage in ("pretrain", "finetune")),
]
COMMAND = (
    f"run quick --optimizer {','.join(NEEDS)} --seeds 8 --update full "
    f"{' '.join(f'--set {shlex.quote(setting)}' for setting in SETTINGS)} --out {OUT}"
)
ROUNDS, STEPS = 5, 20  # of measuring the cost of a step
NARROW = "model={width=32, layers=1, head_width=16}"  # for trials: of wider matrices some make a step in 10 seconds
WIDEST = 64  # characters of an optimizer's name, so that none is shortened
COLUMNS = ["fit", "fact_recall", "rule_accuracy", "forgetting", "learning"]
HEAD = """# Optimizers of other packages

How to run the optimizers of other packages, and their results on `quick` with one seed. The runs check that each optimizer
works; one seed allows no comparison. Plug-ins take the learning rates that their constructors suggest, times 0.1, 0.3, 1, 3
and 10, in pretraining and in finetuning. Scores are at the end of finetuning, at the learning rate shown.
"""
COSTS = """## Settings and cost of a step

Each optimizer runs by itself as `synthbench run --optimizer NAME` with the settings shown. Relative cost: processor time of
a training step of one run, forward and backward pass included, over that of the built-in AdamW (minimum of {rounds} rounds
of {steps} steps).
"""
REJECTED = """## Other optimizers of {package}

Of its {all} optimizers, {accepted} pass the trial before training without further settings. The others are rejected, with
these messages:
"""


def main() -> str:
    request = RunRequest(optimizers=list(NEEDS), updates=["full"], seeds=1, settings=SETTINGS, device="cpu")
    experiment = resolve(request)
    with closing(Store.read(Path(OUT))) as store:
        report = replace(reports.latest(store, with_reference=False), view=View(columns=COLUMNS))
    assert report.finished
    with patch.object(table, "WIDEST", WIDEST):
        body = reports.body(report)
    costs = settings_and_costs({row.optimizer: row for row in report.rows}, experiment)
    return "\n".join([HEAD, body, "", COSTS.format(rounds=ROUNDS, steps=STEPS), costs, "", others()])


def settings_and_costs(rows: Mapping[str, Row], experiment: Experiment) -> str:
    """The settings of each optimizer, its learning rates, and the relative cost of its steps."""
    pretraining = {cell.optimizer: runs for cell, runs in Plan(experiment, {}).cells().items() if runs}
    seconds = step_seconds(experiment, {name: runs[0] for name, runs in pretraining.items()})
    lines = []
    for name, needs in NEEDS.items():
        row, rates = rows[name], sorted({run.lr for run in pretraining[name]})
        options = " ".join(f"--set optimizer.{key}={value}" for key, value in needs.items())
        lines.append([
            name, f"`{options}`" if options else "none", _rates(rates), f"{row.start_lr:g}", _rates(sorted(row.rates)),
            f"{seconds[name] / seconds['adamw']:.2f}",
        ])  # fmt: skip
    heads = ["optimizer", "settings", "pretraining rates", "best", "finetuning rates", "relative cost"]
    return table.github(heads, lines)


def _rates(rates: list[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def step_seconds(experiment: Experiment, runs: Mapping[str, Run]) -> dict[str, float]:
    """Seconds of processor time of a training step, by run. Rounds are interleaved: other load affects all runs alike."""
    import torch

    torch.set_num_threads(1)
    task = next(iter(experiment.tasks.values()))
    rounds = [{name: mean_step_seconds(task, run) for name, run in runs.items()} for _ in range(ROUNDS + 1)]
    return {name: min(seconds[name] for seconds in rounds[1:]) for name in runs}  # the first round may compile


def mean_step_seconds(task: Task, run: Run) -> float:
    """Seconds of processor time of a step: the mean over a run's first steps without the very first."""
    import torch

    from synthbench.execution.fleet_setup import build, data
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule

    fleet, items, step_ends = build(task, [run], [None], Path(), torch.device("cpu")), data(task, [run]), list[float]()
    optimizer = FleetOptimizer(run.optimizer.name, fleet, run.optimizer.arguments, run.optimizer.routing)
    train(
        optimizer, items._replace(order_KTB=items.order_KTB[:, : STEPS + 1]),
        Schedule(run.steps, run.schedule, run.warmup), ([run.lr], [run.weight_decay]), (), lambda step: None,
        lambda step: step_ends.append(process_time()),
    )  # fmt: skip
    return (step_ends[-1] - step_ends[0]) / STEPS


def others() -> str:
    """Every class of the package that its trial rejects, with its message."""
    import pytorch_optimizer
    import torch

    torch.set_num_threads(1)
    classes = {name: value for name, value in vars(pytorch_optimizer).items() if isinstance(value, type)}
    names = sorted(name for name, cls in classes.items() if issubclass(cls, torch.optim.Optimizer))
    rejected, executor = [], patch("synthbench.execution.session.executor", lambda: inprocess.InProcess)
    for name in names:
        request = RunRequest(
            optimizers=[f"{PACKAGE}:{name}"], updates=["full"], seeds=1, settings=[NARROW], device="cpu"
        )
        try:
            with executor, redirect_stderr(io.StringIO()):
                tried(resolve(request))
        except BadInput as error:
            message = str(error).removeprefix(f"--optimizer {PACKAGE}:{name} cannot be used: ")
            rejected.append([name, message.replace("|", "/")])
    section = REJECTED.format(package=PACKAGE, all=len(names), accepted=len(names) - len(rejected))
    return f"{section}\n{table.github(['class', 'message'], rejected)}"


if __name__ == "__main__":
    os.environ |= process_pool.ENVIRONMENT  # as workers have it
    warnings.simplefilter("ignore")
    print(main())
