"""The gate from Python: `synthbench.baseline("muon", file="muon.json")`, `synthbench.check("muon.json")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbench import plugins
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import call, named
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import baseline as baselines
from synthbench.gate import check as checks
from synthbench.gate import commands
from synthbench.gate.record import record, to_record

if TYPE_CHECKING:
    from synthbench.gate.baseline import Baseline
    from synthbench.gate.check import CheckResult
    from synthbench.plugins import OptimizerLike


def check(
    file: str | Path, *, optimizer: OptimizerLike | None = None, level: str | None = None,
    settings: Mapping[str, Any] | None = None, budget: str | None = None, results: str | Path | None = None,
    device: str | None = None, jobs: int | None = None, quiet: bool = True,
) -> CheckResult:  # fmt: skip
    """Measures again what a baseline recorded, and compares.

    Args:
        file: A baseline, as `synthbench baseline` wrote it.
        optimizer: Another implementation: a name, `path/file.py:Class`, a `torch.optim.Optimizer` class, a function made an
            optimizer by `matrix_optimizer` or `fleet_optimizer`. None: the recorded one.
        level: `exact`, `trace` or `behaviour`. None: `trace` where the device is of the recorded kind and traces are
            informative, else `behaviour`; with a budget or results `behaviour`.
        settings: `{"optimizer.ARG": value}`, or `{"routing": "hidden"}`.
        budget: `20s`, `60s` or `5m`: a time budget, which sets the number of seeds.
        results: A folder of runs to compare; none is trained then.
        device: `cpu` or `cuda`. None: the recorded kind, where it is there.
        jobs: Worker processes. None: one for each core.
        quiet: Print no progress.

    Returns:
        A result whose `verdict` is `changed`, `unchanged` or `inconclusive`, with its `lines`, `cause` and `advice`.

    Raises:
        BadInput: (a ValueError) for an argument that is not allowed.
        NotMeasured: where the two cannot be compared.
    """
    request = checks.CheckRequest(
        optimizer=optimizer, settings=overrides.typed(settings), level=level, results=Path(results) if results else None,
        seeds=commands.seeds_of(budget), device=device,
    )  # fmt: skip
    options = commands.options(jobs, quiet=quiet, command=call("check", str(file)))
    return checks.check(baselines.read(Path(file)), named(file), request, options)


def baseline(
    optimizer: OptimizerLike, file: str | Path | None = None, *, runner: str | Path = "gate", task: str | None = None,
    lr: float | Sequence[float] | None = None, seeds: int | Sequence[int] | None = None, budget: str | None = None,
    settings: Mapping[str, Any] | None = None, device: str = "auto", jobs: int | None = None,
    results: str | Path | None = None, overwrite: bool = False, quiet: bool = True,
) -> Baseline:  # fmt: skip
    """Records an optimizer's behaviour, for `check` to compare with.

    Args:
        optimizer: As in `check`.
        file: The JSON file to write. None: none is written.
        runner: A runner's name, or the path of its card.
        task: A task's name, or the path of its card. None: that of the card.
        lr: Learning rates of the last stage; the best by validation is recorded. None: those of the card.
        seeds: How many seeds, or which; at least 5. None: those of the card.
        budget: As in `check`, in place of `seeds`.
        settings: Values by path in the card, such as `{"optimizer.momentum": 0.9}`.
        device: `auto`, `cpu` or `cuda`.
        jobs: Worker processes. None: one for each core.
        results: A folder to keep the runs in; those that are there are not trained again. None: they are not kept.
        overwrite: Overwrite an existing file.
        quiet: Print no progress.

    Returns:
        The baseline: traces, and values by stage and update, score and seed.

    Raises:
        BadInput: (a ValueError) for an argument that is not allowed, or a file that exists.
        NotMeasured: where too few runs are valid, so that every check would be inconclusive.
    """
    if budget and seeds:
        raise BadInput("budget and seeds both set the number of seeds; give one of them.")
    name = optimizer if isinstance(optimizer, str) else plugins.take(optimizer)
    rates = [lr] if isinstance(lr, int | float) else lr
    request = RunRequest(
        runner=str(runner), optimizers=[name], tasks=[task] if task else None, lr=rates,
        seeds=commands.seeds_of(budget) or seeds, settings=overrides.typed(settings), device=device,
    )  # fmt: skip
    if file is not None:
        commands.check_new(Path(file), overwrite=overwrite)
    command = call(
        "baseline", name, runner=str(runner), task=task, lr=lr, seeds=seeds, budget=budget, settings=settings
    )
    options = commands.options(jobs, quiet=quiet, command=command)
    recorded = record(to_record(request), options, Path(results) if results else None)
    if file is not None:
        baselines.write(recorded, Path(file))
    return recorded
