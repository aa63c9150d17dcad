"""Python: `synthbench.run(...)` trains and returns results, as the command of the same name does and prints.

import synthbench
results = synthbench.run("quick", optimizer=MyOptimizer, seeds=3)
print(results.table())
results.compare("adamw")
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbench import plugins
from synthbench.cards.axis import value_text
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import call, listed
from synthbench.execution.engine import Engine
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.execution.trials import tried
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.reporting import claim_answers, comparison_table, export, table
from synthbench.reporting import comparison as comparing
from synthbench.reporting.comparison import RowFilter
from synthbench.reporting.report import Report, of_folder
from synthbench.store.members import Narrowing
from synthbench.store.results import Store
from synthbench.trainer.native import path as paths
from synthbench.trainer.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    import pandas

    from synthbench.plugins import OptimizerLike

WIDTH = 100  # of a table as text


def run(
    runner: str | Path = "quick", *, optimizer: OptimizerLike | Sequence[OptimizerLike] | None = None,
    task: str | Sequence[str] | None = None, update: str | Sequence[str] | None = None,
    lr: float | Sequence[float] | None = None, weight_decay: float | Sequence[float] | None = None,
    seeds: int | Sequence[int] | None = None, settings: Mapping[str, Any] | None = None,
    axes: Mapping[str, Sequence[Any]] | None = None, device: str = "auto", path: str | None = None,
    out: str | Path = "synthbench-results", jobs: int | None = None, fleet_size: int | None = None,
    keep_weights: str = "chosen", fresh: bool = False, quiet: bool = False, engine: str = "local",
    address: str | None = None,
) -> Results:  # fmt: skip
    """Runs an experiment and returns its results; finished runs in the folder `out` are not trained again.

    Args:
        runner: A runner's name, or the path of its card.
        optimizer: One or several of: a name, `path/file.py:Class`, a `torch.optim.Optimizer` class, a function made an
            optimizer by `matrix_optimizer` or `fleet_optimizer`. A class may be defined in the script or notebook that
            calls. None: those of the card.
        task: Names of tasks, or paths of their cards. None: those of the card.
        update: Trainable weights: `full`, `full-hidden`, `lora-R`. None: those of the card.
        lr: Learning rates of the last stage. None: those of the card.
        weight_decay: Weight decays of the last stage. None: those of the card.
        seeds: How many seeds, or which. None: those of the card.
        settings: Values by path in the card, such as `{"optimizer.momentum": 0.9, "stages.finetune.steps": 90}`.
        axes: Values by path in the card that are crossed with everything, such as
            `{"stages.pretrain.weight_decay": [0, 0.1, 1]}`.
        device: `auto`, `cpu` or `cuda`.
        path: Of training steps: `torch`, `native` (C++, on a CPU) or `auto`. None: as the command line has it.
        out: The folder of results.
        jobs: Worker processes. None: one for each core.
        fleet_size: Runs trained as one batched model. None: chosen from memory and cores.
        keep_weights: `none`, `chosen` or `all`.
        fresh: Train anew; earlier attempts are kept.
        quiet: Print no progress.
        engine: `local`, or `ray` to train on a Ray cluster, where the device is `cpu` unless it is named.
        address: Of a running Ray cluster. None: one is started here.

    Returns:
        The results: a table, rows, runs and comparisons.

    Raises:
        BadInput: (a ValueError) for an argument that is not allowed, in one sentence.
        Failed: where a disk or a worker process fails.
    """
    names = None if optimizer is None else [_name(each) for each in _several(optimizer) or ()]
    request = RunRequest(
        runner=str(runner), optimizers=names, tasks=_several(task), updates=_several(update), lr=_several(lr),
        weight_decay=_several(weight_decay), seeds=seeds, settings=overrides.typed(settings),
        axes=[f"{path}={','.join(map(value_text, values))}" for path, values in (axes or {}).items()], device=device,
        is_elsewhere=engine != "local",
        path=path or paths.DEFAULT,
    )  # fmt: skip
    command = call(
        "run", str(runner), optimizer=names, task=task, update=update, lr=lr, weight_decay=weight_decay, seeds=seeds,
        settings=settings and dict(settings), axes=axes and dict(axes),
    )  # fmt: skip
    execution = ExecutionOptions(
        out=Path(out), jobs=jobs, fleet_size=fleet_size, keep_weights=keep_weights, fresh=fresh, quiet=quiet,
        command=command, engine=Engine(name=engine, address=address),
    )  # fmt: skip
    execution.check()
    experiment = resolve(request)
    experiment = tried(experiment, execution.workers(experiment.environment.device))
    narrowing = Narrowing(request.seed_list, request.updates)
    report = of_folder(execution.out, experiment=perform(experiment, execution), narrowing=narrowing)
    return Results(_of_card(report), experiment.card.optimizers)


def open_results(folder: str | Path, *, runner: str | None = None) -> Results:
    """Opens the results of a folder; nothing is trained.

    Args:
        folder: A folder of results, as `--out` names it.
        runner: The name of the runner whose results are meant. None: that of the last experiment.

    Returns:
        The results: a table, rows, runs and comparisons.

    Raises:
        BadInput: (a ValueError) where the folder holds no results, or none of the runner.
    """
    report = of_folder(Path(folder), runner)
    return Results(report, report.card.optimizers)


class Results:
    """Results of an experiment: rows of a table, one for each task, optimizer and update."""

    def __init__(self, report: Report, optimizers: Sequence[str]) -> None:
        """optimizers: labels of those that were run."""
        self.report, self.optimizers = report, list(optimizers)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each row; docs/columns.md describes its columns.

        Returns:
            Settings, and for each score of the card its mean, 95 % interval and number of seeds.
        """
        return table.records(self.report.table)

    def table(self) -> str:
        """The table with its notes and its sentence, and the answers to the card's claims, as text of 100 columns."""
        drawn = _text(table.as_rich(self.report.table), self.report.lines)
        if not self.report.claims:
            return drawn
        return "\n\n".join([drawn, _text(claim_answers.as_rich(self.report.claims), [claim_answers.NOTE])])

    def compare(self, other: OptimizerLike, optimizer: OptimizerLike | None = None) -> Comparison:
        """Compares every score of two optimizers (or updates), paired over seeds where that helps.

        Args:
            other: The optimizer to compare with: a name as in the table, or the class.
            optimizer: The one that is compared. None: the one that was run beside `other`.

        Returns:
            The differences, each with its verdict.

        Raises:
            BadInput: (a ValueError) where several optimizers were run beside `other`, or rows are missing.
        """
        name = _name(other)
        candidates = [label for label in self.optimizers if label != name]
        if optimizer is None and len(candidates) != 1:
            which = f"say which with optimizer=: {listed(candidates)}" if candidates else "run another optimizer, too"
            raise BadInput(f"compare: {listed(self.optimizers)} were run; {which}.")
        compared = candidates[0] if optimizer is None else _name(optimizer)
        return Comparison(comparing.inside(self.report, compared, name, RowFilter(), None))

    def runs(self) -> list[dict[str, Any]]:
        """Every run of these rows' optimizers; docs/columns.md describes its columns.

        Returns:
            A dictionary for each run: settings, scores at the end, scores along the path by step.
        """
        assert self.report.folder is not None
        names = {name for row in self.report.rows for name in (row.optimizer, *row.base)}
        optimizers = {self.report.card.optimizer_of(name) for name in names}
        with closing(Store.read(self.report.folder)) as store:
            return [run for run in export.objects(self.report, store) if run["optimizer"] in optimizers]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a DataFrame; raises BadInput where pandas is not installed."""
        return _frame(self.rows())

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        drawn = self.report.table
        return _html(drawn.heads(), drawn.cells(), self.report.lines)


class Comparison:
    """Differences between two optimizers, score by score, each with its verdict."""

    def __init__(self, comparison: comparing.Comparison) -> None:
        self.comparison = comparison

    @property
    def sentence(self) -> str:
        """What is decided, and the estimated number of seeds for 80 % power where a difference is inconclusive."""
        return comparison_table.sentence(self.comparison)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each score and pair of rows; docs/columns.md describes its columns."""
        return comparison_table.records(self.comparison)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a DataFrame; raises BadInput where pandas is not installed."""
        return _frame(self.rows())

    def __repr__(self) -> str:
        return _text(comparison_table.as_rich(self.comparison), [*self.comparison.notes, self.sentence])

    def _repr_html_(self) -> str:
        heads, cells = comparison_table.heads(self.comparison), comparison_table.cells(self.comparison)
        return _html(heads, cells, [*self.comparison.notes, self.sentence])


def _of_card(report: Report) -> Report:
    """A report without rows of plug-ins and tasks that other calls left in the folder. Built-in optimizers stay, to be
    compared with."""
    names = {*report.card.optimizers, *(name for name in OPTIMIZERS if not plugins.plugin_of(name))}
    return replace(report, rows=[row for row in report.rows if row.reference or row.optimizer in names])


def _name(optimizer: OptimizerLike) -> str:
    return optimizer if isinstance(optimizer, str) else plugins.name_of(optimizer)


def _several(values: Any) -> list[Any] | None:
    return None if values is None else list(values) if isinstance(values, list | tuple) else [values]


def _text(drawing: Any, lines: Sequence[str]) -> str:
    from textwrap import fill

    from rich.console import Console

    drawn = io.StringIO()
    Console(width=WIDTH, file=drawn, color_system=None, force_jupyter=False).print(drawing)
    below = (fill(line, WIDTH, break_on_hyphens=False) for line in lines if line)
    return "\n\n".join([drawn.getvalue().rstrip(), *below])


def _html(heads: Sequence[str], cells: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    from html import escape

    from tabulate import tabulate

    drawn = tabulate(cells, heads, tablefmt="html", disable_numparse=True)
    return "".join([drawn, *(f"<p>{escape(line)}</p>" for line in lines if line)])


def _frame(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    try:
        import pandas
    except ModuleNotFoundError:
        raise BadInput("to_pandas needs pandas; install it with: pip install pandas.") from None
    return pandas.DataFrame(rows)
