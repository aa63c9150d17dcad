"""Optimizers of other packages through the front door, as a page: `python -m tests.optimizers > reports/optimizers.md`.

It reads what `COMMAND` has trained, measures what a step of each costs, and tries every other class of the package.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import process_time

from tabulate import tabulate

from synthbench.analysis.rows import Row
from synthbench.common.errors import BadInput
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Run
from synthbench.generators import Task
from synthbench.reporting import report as reports
from synthbench.reporting.view import View
from synthbench.store.results import Store

OUT = "optimizers-results"
PACKAGE = "pytorch_optimizer"
DECOUPLED = {"weight_decouple": "true"}  # or the card's decay of 0.1 would be part of the gradient
# by name, what each needs beside it, as `--set optimizer.KEY=VALUE` takes it
NEEDS: dict[str, dict[str, str]] = {
    "adamw": {},
    "torch.optim:AdamW": {},
    f"{PACKAGE}:Lion": {},
    f"{PACKAGE}:SOAP": {},
    f"{PACKAGE}:Shampoo": DECOUPLED,
    f"{PACKAGE}:AdEMAMix": DECOUPLED,
    f"{PACKAGE}:MARS": {},
    f"{PACKAGE}:AdaFactor": {},
    f"{PACKAGE}:ScheduleFreeAdamW": {},
    f"{PACKAGE}:Prodigy": {},
    f"{PACKAGE}:ADOPT": DECOUPLED,
    f"{PACKAGE}:CAME": {},
    f"{PACKAGE}:Adan": DECOUPLED,
    # its own default rate of the part that AdamW moves, over that of the rest: 3e-4 / 2e-2
    f"{PACKAGE}:Muon": {"routing": "hidden", "group": "{use_muon=true}", "aux_lr_ratio": "0.015"},
    "heavyball:AdamW": {"compile_step": "false"},
    "heavyball:Muon": {"compile_step": "false", "routing": "hidden"},
}
SETTINGS = [f'arguments."{name}".{key}={value}' for name, needs in NEEDS.items() for key, value in needs.items()]
COMMAND = (
    f"run quick --optimizer {','.join(NEEDS)} --seeds 1 --update full "
    f"{' '.join(f'--set {shlex.quote(setting)}' for setting in SETTINGS)} --out {OUT}"
)
ROUNDS, STEPS = 5, 20  # of measuring what a step costs
COLUMNS = ["fit", "fact_recall", "rule_accuracy", "forgetting", "learning"]
HEAD = """# Optimizers of other packages

What it takes to run somebody else's optimizer, and what `quick` shows of it with one seed: a check that it runs, no
comparison (one seed decides nothing). Plug-ins have the rates that their constructors suggest, times 0.1, 0.3, 1, 3 and 10,
in pretraining and in finetuning; scores are at the end of finetuning, at the rate shown.
"""
ASKED = """## What each was given, and what it costs

Each runs by itself as `synthbench run --optimizer NAME` with the settings shown. Cost: a training step of one run, forward
and backward pass included, in processor time over that of the built-in AdamW (least of {rounds} times {steps} steps).
"""
TRIED = """## What else is in {package}

Of its {all} optimizers {fine} pass the trial that comes before training as they are. The others, and what is said of each:
"""


def main() -> str:
    asked = RunRequest(optimizers=list(NEEDS), updates=["full"], seeds=1, settings=SETTINGS, device="cpu")
    experiment = resolve(asked)
    with closing(Store.read(Path(OUT))) as store:
        found = replace(reports.latest(store, with_reference=False), view=View(columns=COLUMNS))
    assert found.finished
    return "\n".join([HEAD, reports.body(found), "", ASKED.format(rounds=ROUNDS, steps=STEPS),
                      given({row.optimizer: row for row in found.rows}, experiment), "", others()])  # fmt: skip


def given(rows: Mapping[str, Row], experiment: Experiment) -> str:
    """What each optimizer needed, the rates that were tried of it, and the cost of its steps."""
    first = {
        cell.optimizer: runs for cell, runs in Plan(experiment, {}).cells().items() if runs
    }  # those of pretraining
    spent = costs(experiment, {name: runs[0] for name, runs in first.items()})
    lines = []
    for name, needs in NEEDS.items():
        row, tried = rows[name], sorted({run.lr for run in first[name]})
        options = " ".join(f"--set optimizer.{key}={value}" for key, value in needs.items())
        lines.append([
            name, f"`{options}`" if options else "nothing", _rates(tried), f"{row.start_lr:g}", _rates(sorted(row.rates)),
            f"{spent[name] / spent['adamw']:.2f}",
        ])  # fmt: skip
    heads = ["optimizer", "given", "rates of pretraining", "best", "rates of finetuning", "cost of a step"]
    return str(tabulate(lines, heads, tablefmt="github", disable_numparse=True))


def _rates(rates: list[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def costs(experiment: Experiment, runs: Mapping[str, Run]) -> dict[str, float]:
    """Seconds of processor time of a training step of each run, rounds interleaved so that none has the quiet hour."""
    import torch

    torch.set_num_threads(1)
    task = next(iter(experiment.tasks.values()))
    rounds = [{name: cost(task, run) for name, run in runs.items()} for _ in range(ROUNDS + 1)]  # the first may compile
    return {name: min(one[name] for one in rounds[1:]) for name in runs}


def cost(task: Task, run: Run) -> float:
    """The same of a run's first steps, less the very first."""
    import torch

    from synthbench.execution.fleet_setup import build, data
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule

    fleet, whole, ends = build(task, [run], [None], Path(), torch.device("cpu")), data(task, [run]), list[float]()
    moving = FleetOptimizer(run.optimizer.name, fleet, run.optimizer.arguments, run.optimizer.routing)
    some = whole._replace(order_KTB=whole.order_KTB[:, : STEPS + 1])
    train(
        moving, some, Schedule(run.steps, run.schedule, run.warmup), ([run.lr], [run.weight_decay]), (),
        lambda step: None, lambda step: ends.append(process_time()),
    )  # fmt: skip
    return (ends[-1] - ends[0]) / STEPS


def others() -> str:
    """What the trial says of every class of the package that it refuses."""
    import pytorch_optimizer
    import torch

    known = {name: one for name, one in vars(pytorch_optimizer).items() if isinstance(one, type)}
    names = sorted(name for name, one in known.items() if issubclass(one, torch.optim.Optimizer))
    refused = []
    for name in names:
        try:
            resolve(RunRequest(optimizers=[f"{PACKAGE}:{name}"], updates=["full"], seeds=1, device="cpu"))
        except BadInput as error:
            refused.append(
                [name, str(error).removeprefix(f"--optimizer {PACKAGE}:{name}").lstrip(": ").replace("|", "/")]
            )
    drawn = tabulate(refused, ["class", "what is said"], tablefmt="github", disable_numparse=True)
    return f"{TRIED.format(package=PACKAGE, all=len(names), fine=len(names) - len(refused))}\n{drawn}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(main())
