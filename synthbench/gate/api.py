"""The gate from Python: `synthbench.baseline("muon", file="muon.json")`, `synthbench.check("muon.json")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from synthbench import plugins
from synthbench.common.overrides import written
from synthbench.common.wording import named
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import baseline as baselines
from synthbench.gate.check import CheckRequest, CheckResult
from synthbench.gate.check import check as measure
from synthbench.gate.commands import RecordRequest, make, options
from synthbench.gate.power import seeds as seeds_of

if TYPE_CHECKING:
    from synthbench.gate.baseline import Baseline
    from synthbench.plugins import OptimizerLike


class GateOptions(TypedDict, total=False):
    """results: a folder of runs; check compares them and trains none, baseline keeps its runs there. device: `cpu` or
    `cuda`. jobs: worker processes. quiet: print no progress."""

    results: str | Path | None
    device: str
    jobs: int | None
    quiet: bool


def check(
    file: str | Path, *, optimizer: OptimizerLike | None = None, level: str | None = None,
    settings: Mapping[str, Any] | None = None, budget: str | None = None, **how: Unpack[GateOptions],
) -> CheckResult:  # fmt: skip
    """Measures again what a baseline recorded, and compares.

    Args:
        file: a baseline, as `synthbench baseline` wrote it.
        optimizer: another implementation: a name, `path/file.py:Class`, a `torch.optim.Optimizer` class, a function made an
            optimizer by `matrix_optimizer`; None for the recorded one.
        level: `exact`, `trace` or `behaviour`; None for `trace` where the device is of the recorded kind and traces are
            informative, else `behaviour`. With a budget or results `behaviour`.
        settings: `{"optimizer.ARG": value}`, or `{"routing": "hidden"}`.
        budget: `20s`, `60s` or `5m`: a time budget, which sets the number of seeds.
        **how: see GateOptions.

    Returns:
        A result whose `verdict` is `changed`, `unchanged` or `inconclusive`, with its `lines`, `cause` and `advice`.

    Raises:
        BadInput: (a ValueError) for an argument that is not allowed.
        NotMeasured: where the two cannot be compared.
    """
    results = how.get("results")
    request = CheckRequest(
        optimizer=optimizer, settings=_settings(settings), level=level, results=Path(results) if results else None,
        seeds=seeds_of(budget), device=how.get("device"),
    )  # fmt: skip
    execution = options(how.get("jobs"), how.get("quiet", True), f"synthbench.check({str(file)!r})")
    return measure(baselines.read(Path(file)), named(file), request, execution)


def baseline(
    optimizer: OptimizerLike, file: str | Path = "baseline.json", *, runner: str = "gate", task: str | None = None,
    seeds: int | Sequence[int] | None = None, settings: Mapping[str, Any] | None = None, overwrite: bool = False,
    **how: Unpack[GateOptions],
) -> Baseline:  # fmt: skip
    """Records an optimizer's behaviour in a file, for `check` to compare with.

    Args:
        optimizer: as in `check`.
        file: the JSON file to write, made to be committed.
        runner: a runner's name or the path of its card.
        task: a task's name or the path of its card; None for the runner's.
        seeds: how many seeds, or which; None for the runner's. At least 5.
        settings: values by path in the card, such as `{"optimizer.momentum": 0.9}`.
        overwrite: overwrite an existing file, having printed what changed.
        **how: see GateOptions.

    Returns:
        The baseline: traces, and scores by stage and update, by score and seed.

    Raises:
        BadInput: (a ValueError) for an argument that is not allowed, or a file that exists.
        NotMeasured: where too few runs are valid, so that every check would be inconclusive.
    """
    name = optimizer if isinstance(optimizer, str) else plugins.take_object(optimizer).label
    request = RunRequest(
        runner=runner, optimizers=[name], tasks=[task] if task else None, seeds=seeds, settings=_settings(settings),
        device=how.get("device", "auto"),
    )  # fmt: skip
    results = how.get("results")
    target = RecordRequest(file=Path(file), overwrite=overwrite, results=Path(results) if results else None)
    command = f"synthbench.baseline({name!r}, {str(file)!r})"
    return make(request, target, options(how.get("jobs"), how.get("quiet", True), command))


def _settings(settings: Mapping[str, Any] | None) -> list[str]:
    return [f"{path}={written(value)}" for path, value in (settings or {}).items()]
