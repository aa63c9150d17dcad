"""Optimizers on the command line, as a page: `python -m tests.optimizers > reports/optimizers.md`.

Reads the results of `COMMAND`, measures the cost of a step of each optimizer, and tries every other class of a package.
"""

from __future__ import annotations

import io
import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing, redirect_stderr
from pathlib import Path
from statistics import fmean
from time import process_time
from unittest.mock import patch

from synthbench.analysis import verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import interval
from synthbench.cards import RunnerCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import code, literal
from synthbench.execution import process_pool
from synthbench.execution.trials import tried
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Run
from synthbench.generators import Task
from synthbench.plugins.loading import label
from synthbench.reporting import notes, table
from synthbench.reporting import report as reports
from synthbench.reporting.sentence import small, undirected
from synthbench.store.results import Store
from tests import inprocess

OUT = "optimizers-results"
PACKAGE = "pytorch_optimizer"
DECOUPLED = {"weight_decouple": "true"}  # else the card's weight decay of 0.1 is added to the gradient
# Without LBFGS, which needs a closure, and SparseAdam, which needs sparse gradients.
TORCH = ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "Muon", "NAdam", "RAdam", "RMSprop",
         "Rprop", "SGD")  # fmt: skip
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
LEAST_TRIALS = 5  # in each stage, of an optimizer whose runs are done
ROUNDS, STEPS = 5, 20  # of measuring the cost of a step
NARROW = "model={width=32, layers=1, head_width=16}"  # for trials: of wider matrices some make a step in 10 seconds
SCORES = {"rote_gap": "rote gap", "rule_accuracy": "rule accuracy", "forgetting": "forgetting"}  # judged against AdamW
HEAD = """# Optimizers

What {count} optimizers make a model learn and forget, each beside AdamW. All were tuned alike: five learning rates in
pretraining and five in finetuning (the default of the optimizer times 0.1, 0.3, 1, 3 and 10), and up to two more where the
best one lay at an edge; {seeds} seeds, full updates, on [`rote-vs-rule`](../tasks/README.md). Scores are at the end of
finetuning at the rate that is best on validation items: each optimizer stands for itself and its tuning, not for equal fit.
Rates: of pretraining, of finetuning; `!`: at an edge. Rows by `learning`.

- **rote gap**: accuracy on trained items of the new rule minus that on held-out ones, above chance.
- **rule accuracy**: of held-out items of the new rule.
- **before**: what was known before finetuning, pretraining facts and rule. Optimizers that add weight decay to the gradient
  store few facts at the card's decay of 0.1, so that they have less to forget.
- **forgetting**: of pretraining facts and rule, before minus after.
- **cost**: processor time of a training step of one run, forward and backward pass included, over that of `adamw`
  (minimum of {rounds} rounds of {steps} steps).

A verdict is on the paired difference to `adamw` (95 % interval, Student's t). There are {tests}: by chance alone, one in
twenty would name a direction. What it means: [Read the table](../docs/run.md#compare).
"""
UNFINISHED = "Unfinished: these are still to be trained by the command below: {names}."
SETTINGS_HEAD = """## How to run them

Each runs by itself as `synthbench run --optimizer NAME`, with these settings where there are some:
"""
REJECTED = """## Other optimizers of {package}

Of its {all} optimizers, {accepted} pass the trial before training without further settings. The others are rejected, with
these messages:
"""


def main() -> str:
    request = RunRequest(optimizers=list(NEEDS), updates=["full"], seeds=8, settings=SETTINGS, device="cpu")
    experiment = resolve(request)
    with closing(Store.read(Path(OUT))) as store:
        report = reports.latest(store, with_reference=False)
    whole = [row for row in report.rows if row.seeds == report.card.seed_list and min(row.trials) >= LEAST_TRIALS]
    rows = sorted(whole, key=lambda row: -fmean(row.values["learning"].values() or [0.0]))
    pretraining = {cell.optimizer: runs for cell, runs in Plan(experiment, {}).cells().items() if runs}
    seconds = step_seconds(experiment, {name: runs[0] for name, runs in pretraining.items()})
    made = [f"- Command: {code(f'synthbench {COMMAND}')}", f"- Device: {literal(report.rows[0].device)}",
            f"- Versions: {', '.join(literal(f'{name} {number}') for name, number in report.versions.items())}",
            f"- Time: {notes.spent(report.spent)}"]  # fmt: skip
    head = HEAD.format(count=len(rows), seeds=len(report.card.seed_list), rounds=ROUNDS, steps=STEPS,
                       tests=len(SCORES) * (len(rows) - 1))  # fmt: skip
    missing = [name for name in map(label, NEEDS) if name not in {row.optimizer for row in rows}]
    unfinished = [UNFINISHED.format(names=", ".join(f"`{name}`" for name in missing)), ""] if missing else []
    return "\n".join([head, scores(rows, report.card, seconds), "", *unfinished, *made, "", settings(), "", others()])


def scores(rows: Sequence[Row], card: RunnerCard, seconds: Mapping[str, float]) -> str:
    """Every optimizer's rates, scores, cost of a step, and verdicts against AdamW in a line."""
    (adamw,) = (row for row in rows if row.optimizer == "adamw")
    names = ["learning", *SCORES]
    lines = [
        [
            literal(row.optimizer), _rates(row), f"{fmean(row.start['learning'].values()):.2f}",
            *(_score(row, name) for name in names),
            f"{seconds[row.optimizer] / seconds['adamw']:.2f}", "-" if row is adamw else line_of(Pair(row, adamw), card),
        ]
        for row in rows
    ]  # fmt: skip
    return table.github(["optimizer", "rates", "before", *names, "cost", "against adamw"], lines)


def line_of(pair: Pair, card: RunnerCard) -> str:
    """The verdicts of a pair in one line: `rote gap higher by 0.05, rule accuracy and forgetting inconclusive`."""
    said: dict[str, list[str]] = {}
    for name, title in SCORES.items():
        judged = verdict.of(pair, name, card)
        if judged.kind in verdict.DECIDED:
            words = f"{judged.kind} by {abs(judged.difference.mean):.2f}{small(judged)}"
        else:
            words = undirected(judged).partition(" (")[0]
        said.setdefault(words, []).append(title)
    return "; ".join(f"{' and '.join(titles)} {words}" for words, titles in said.items())


def _score(row: Row, name: str) -> str:
    return literal(
        table.Entry.of(interval([*row.values[name].values()]), name).text(0 if row.lr is None else len(row.seeds))
    )


def _rates(row: Row) -> str:
    """Of pretraining and finetuning."""
    marks = "!" * row.edge_before, "!" * row.edge
    rates = (row.start_lr, row.lr)
    return ", ".join("-" if rate is None else f"{rate:.3g}{mark}" for rate, mark in zip(rates, marks, strict=True))


def settings() -> str:
    """The settings that some need."""
    lines = [f"- `{name}`: `{' '.join(f'--set optimizer.{key}={value}' for key, value in needs.items())}`"
             for name, needs in NEEDS.items() if needs]  # fmt: skip
    lines += [f"- `{name}`: rates {rates} in place of those around its default" for name, rates in RATES.items()]
    return "\n".join([SETTINGS_HEAD, *lines])


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
    rejected, executor = [], patch("synthbench.execution.engine.local", lambda: inprocess.InProcess)
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
