"""Python: `synthbench.run(...)` trains and returns results, as the command of the same name does and prints.

import synthbench
results = synthbench.run("quick", optimizer=MyOptimizer, seeds=3)
print(results.table())
results.compare("adamw")
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbench import plugins
from synthbench.cards import RunnerCard
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import listed
from synthbench.reporting import comparison as comparing
from synthbench.reporting import comparison_table, export, table
from synthbench.reporting.comparison import Comparison, RowFilter
from synthbench.reporting.report import Report, of_folder
from synthbench.trainer.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    import pandas

OUT = "synthbench-results"
WIDTH = 100  # of a table as text


def run(
    runner: str | Path = "quick", *, optimizer: Any = None, task: str | Sequence[str] | None = None,
    update: str | Sequence[str] | None = None, lr: float | Sequence[float] | None = None,
    weight_decay: float | Sequence[float] | None = None, seeds: int | Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None, device: str = "auto", out: str | Path = OUT, jobs: int | None = None,
    fleet_size: int | None = None, keep_weights: str = "chosen", fresh: bool = False, quiet: bool = False,
) -> Results:  # fmt: skip
    """Runs an experiment and returns what it showed; what is finished in the folder `out` is not trained again.

    runner: a name or the path of a card. optimizer: a name, `path/file.py:Class`, a `torch.optim.Optimizer` class, a rule
    (see `matrix_optimizer`), or several of them; a class may be defined in the script or notebook that calls. task, update, lr,
    weight_decay, seeds (a count, or which), device, jobs, fleet_size, keep_weights, fresh, quiet: as in `synthbench run`.
    settings: values by path in the card, such as {"optimizer.momentum": 0.9, "stages.finetune.steps": 90}.

    Raises BadInput for what is not allowed (a ValueError with one sentence), Failed where a disk or a worker gives up.
    """
    from synthbench.execution.session import ExecutionOptions, perform
    from synthbench.experiment.resolve import RunRequest, resolve

    called: dict[str, Any] = {
        "optimizer": _optimizers(optimizer), "task": task, "update": update, "lr": lr, "weight_decay": weight_decay,
        "seeds": seeds, "settings": settings and dict(settings),
    }  # fmt: skip
    asked = RunRequest(
        str(runner), called["optimizer"], _several(task), _several(update), _several(lr), _several(weight_decay),
        seeds, [f"{path}={overrides.written(value)}" for path, value in (settings or {}).items()], device,
    )  # fmt: skip
    options = ExecutionOptions(
        out=Path(out), jobs=jobs, fleet_size=fleet_size, keep_weights=keep_weights, fresh=fresh, quiet=quiet,
        command=_call(runner, called),
    )  # fmt: skip
    options.check()
    experiment = resolve(asked)
    report = of_folder(options.out, experiment=perform(experiment, options))
    return Results(only(report, experiment.card), experiment.card.optimizers)


def only(report: Report, card: RunnerCard) -> Report:
    """A report without the rows of others' classes and tasks that the folder has from other calls. What is built in stays,
    to be compared with."""
    own = {*card.optimizers, *OPTIMIZERS.keys() - plugins.TAKEN.keys()}
    return replace(report, rows=[row for row in report.rows if row.reference or row.optimizer in own])


class Results:
    """What a call showed: rows of a table, one for each task, optimizer and update."""

    def __init__(self, report: Report, asked: Sequence[str]) -> None:
        """asked: labels of the optimizers that the call named."""
        self.report, self.asked = report, list(asked)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary a row: settings, and of every score of the card mean, 95 % interval, number of seeds."""
        return table.records(self.report.table)

    def table(self) -> str:
        """The table with its notes and its sentence, as text."""
        return _text(table.as_rich(self.report.table), [*self.report.table.notes, self.report.sentence])

    def compare(self, other: Any, optimizer: Any = None) -> Compared:
        """Every score of an optimizer (or update) against another one's, paired over seeds.

        other, optimizer: a name as in the table, or the class itself. optimizer: which one; none for the one that was run
        beside `other`. Raises BadInput where several were, or where rows are missing.
        """
        names = [one if isinstance(one, str) or one is None else plugins.name_of(one) for one in (other, optimizer)]
        own = [name for name in self.asked if name != names[0]]
        if names[1] is None and len(own) != 1:
            which = f"say which with optimizer=: {listed(own)}" if own else "run another optimizer, too"
            raise BadInput(f"compare: {listed(self.asked)} were run; {which}.")
        return Compared(comparing.inside(self.report, names[1] or own[0], str(names[0]), RowFilter(), None))

    def runs(self) -> list[dict[str, Any]]:
        """Every run of these rows' optimizers with its settings, its scores at the end and along its path."""
        from contextlib import closing

        from synthbench.store.results import Store

        assert self.report.folder is not None
        own = {row.optimizer for row in self.report.rows} | {name for row in self.report.rows for name in row.base}
        rules = {self.report.card.optimizer_of(name) for name in own}
        with closing(Store.read(self.report.folder)) as store:
            return [one for one in export.objects(self.report, store) if one["optimizer"] in rules]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a DataFrame; raises BadInput where pandas is not installed."""
        return _frame(self.rows())

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        found = self.report.table
        return _html(found.heads(), found.cells(), [*found.notes, self.report.sentence])


class Compared:
    """Differences between two optimizers, score by score, each with its verdict."""

    def __init__(self, found: Comparison) -> None:
        self.found = found

    @property
    def sentence(self) -> str:
        """What is decided, and how many seeds it would take to decide the rest."""
        return comparison_table.sentence(self.found)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary a score and pair of rows."""
        return comparison_table.records(self.found)

    def to_pandas(self) -> pandas.DataFrame:
        """The same as a DataFrame; raises BadInput where pandas is not installed."""
        return _frame(self.rows())

    def __repr__(self) -> str:
        return _text(comparison_table.as_rich(self.found), [*self.found.notes, self.sentence])

    def _repr_html_(self) -> str:
        return _html(
            comparison_table.heads(self.found), comparison_table.cells(self.found), [*self.found.notes, self.sentence]
        )


def _call(runner: str | Path, given: Mapping[str, Any]) -> str:
    """The call as it can be typed again, for the record."""
    words = [f"{str(runner)!r}", *(f"{name}={value!r}" for name, value in given.items() if value is not None)]
    return f"synthbench.run({', '.join(words)})"


def _optimizers(given: Any) -> list[str] | None:
    """Names of what is run; classes and rules are registered under theirs."""
    if given is None:
        return None
    return [
        one if isinstance(one, str) else plugins.take_object(one).label
        for one in (given if isinstance(given, list | tuple) else [given])
    ]


def _several(given: Any) -> list[Any] | None:
    return None if given is None else list(given) if isinstance(given, list | tuple) else [given]


def _text(drawing: Any, lines: Sequence[str]) -> str:
    from textwrap import fill

    from rich.console import Console

    console = Console(width=WIDTH, file=io.StringIO(), color_system=None, force_jupyter=False)
    console.print(drawing)
    return "\n\n".join([console.file.getvalue().rstrip(), *(fill(line, WIDTH) for line in lines)])  # type: ignore[attr-defined]


def _html(heads: Sequence[str], cells: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    from html import escape

    from tabulate import tabulate

    return "".join(
        [tabulate(cells, heads, tablefmt="html", disable_numparse=True), *(f"<p>{escape(line)}</p>" for line in lines)]
    )


def _frame(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    try:
        import pandas
    except ModuleNotFoundError:
        raise BadInput("to_pandas needs pandas; install it with: pip install pandas.") from None
    return pandas.DataFrame(rows)
