"""The command line. Everything heavy is imported where it is used, so that `--help` and `ls` answer at once.

The options of a command are the fields of a dataclass; the command gets them as one object.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from synthbench.common.errors import BadInput
from synthbench.common.wording import inert, shown

app = typer.Typer(
    name="synthbench",
    help="What an optimizer makes a language model learn (rote facts or the rule behind them), and what it forgets.",
    epilog="Start with: synthbench run --optimizer muon",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
OUT = Path("synthbench-results")
RENAMED = "the old name is read until version 0.2."

Out = Annotated[Path, typer.Option("--out", help="Folder of results.", show_default=True)]
Runner = Annotated[str | None, typer.Argument(help="A runner's name or the path of its card.", show_default=False)]
Assert = Annotated[
    bool, typer.Option("--assert-claims", help="Exit 1 where a claim is refuted, 3 where one is not measured.")
]
Columns = Annotated[str | None, typer.Option("--columns", help="Scores in place of the card's, such as fit,learning.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="path=value in the card; repeatable.")]
Jobs = Annotated[int | None, typer.Option(help="Worker processes.", show_default="one per core")]
Silent = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Budget = Annotated[str | None, typer.Option(help="20s, 60s or 5m: time budget; sets the number of seeds.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seeds = Annotated[str | None, typer.Option(help="How many seeds, or which: 0,4,7.")]
Lr = Annotated[str | None, typer.Option(help="Learning rates of the last stage, such as 1e-3,3e-3.")]

Options = TypeVar("Options")


def command(
    options: type[Options], name: str | None = None
) -> Callable[[Callable[[Options], None]], Callable[[Options], None]]:
    """Registers a command whose options are the fields of a dataclass."""

    def register(function: Callable[[Options], None]) -> Callable[[Options], None]:
        def call(**values: Any) -> None:
            function(options(**values))

        hints = get_type_hints(options, include_extras=True)
        call.__name__, call.__doc__, call.__annotations__ = function.__name__, function.__doc__, hints
        call.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name],
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
            for field in fields(options)  # type: ignore[arg-type]
        ])  # fmt: skip
        app.command(name)(call)
        return function

    return register


@dataclass(frozen=True, kw_only=True)
class Run:
    runner: Runner = None
    optimizer: Annotated[str | None, typer.Option(help="Optimizers, such as muon or adamw,sgd.")] = None
    task: Annotated[str | None, typer.Option(help="Tasks, by name or path of a card.")] = None
    update: Annotated[str | None, typer.Option(help="Trainable weights: full, full-hidden, lora-R.")] = None
    lr: Lr = None
    weight_decay: Annotated[str | None, typer.Option(help="Weight decays of the last stage.")] = None
    seeds: Seeds = None
    set_: Settings = None
    device: Device = "auto"
    jobs: Jobs = None
    fleet_size: Annotated[int | None, typer.Option(help="Runs trained as one batched model.")] = None
    out: Out = OUT
    keep_weights: Annotated[str, typer.Option(help="none, chosen or all.")] = "chosen"
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew; earlier attempts are kept.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be trained and how long it takes.")] = (
        False
    )
    quiet: Silent = False
    assert_claims: Assert = False
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False


@command(Run)
def run(options: Run) -> None:
    """Run an experiment and print its table. Rerun the command to resume where it stopped."""
    from synthbench.execution.session import ExecutionOptions
    from synthbench.experiment.resolve import RunRequest
    from synthbench.interface import commands

    request = RunRequest(
        runner=options.runner or "quick", optimizers=_words("--optimizer", options.optimizer),
        tasks=_words("--task", options.task), updates=_words("--update", options.update),
        lr=_numbers("--lr", options.lr), weight_decay=_numbers("--weight-decay", options.weight_decay),
        seeds=_seeds(options.seeds), settings=options.set_ or (), device=options.device,
    )  # fmt: skip
    execution = ExecutionOptions(
        out=options.out, jobs=options.jobs, fleet_size=options.fleet_size, keep_weights=options.keep_weights,
        fresh=options.fresh, quiet=options.quiet, command=_command(),
    )  # fmt: skip
    commands.run(request, execution, dry_run=options.dry_run, assert_claims=options.assert_claims)


@app.command("ls")
def list_(
    kind: Annotated[str, typer.Argument(help="task, runner, optimizer, score, generator or model.")],
    form: Annotated[str, typer.Option("--format", help="table or markdown.")] = "table",
) -> None:
    """List all tasks, runners, optimizers, scores, generators or models."""
    from synthbench.interface import listing

    listing.show_list(kind, form)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="task, runner, optimizer, score or generator.")],
    name: Annotated[str, typer.Argument(help="Its name, the path of a card, or path/file.py:Name.")],
) -> None:
    """Show a task's examples, a runner's card, the arguments of a generator or an optimizer, a score's formula."""
    from synthbench.interface import listing

    listing.show_one(kind, name)


@dataclass(frozen=True, kw_only=True)
class Report:
    runner: Runner = None
    out: Out = OUT
    form: Annotated[str, typer.Option("--format", help="table, markdown, claims, csv, json, latex or reference.")] = (
        "table"
    )
    into: Annotated[Path | None, typer.Option(help="Put the table as markdown between this file's markers.")] = None
    update: Annotated[Path | None, typer.Option(hidden=True)] = None
    sort: Annotated[str | None, typer.Option(help="Sort rows by this score, the best first.")] = None
    columns: Columns = None
    versus: Annotated[str | None, typer.Option(help="Show differences to the rows of this optimizer.")] = None
    figures: Annotated[Path | None, typer.Option(help="Draw figures into this folder (extra: plots).")] = None
    assert_claims: Assert = False


@command(Report)
def report(options: Report) -> None:
    """Print the table of the last experiment in a folder of results."""
    from synthbench.interface import commands
    from synthbench.reporting.view import View

    if options.update:
        _notice("report --update is now --into")
    output = commands.ReportOutput(form=options.form, into=options.into or options.update, figures=options.figures)
    view = View(options.sort, _words("--columns", options.columns), options.versus)
    commands.report(options.out, options.runner, output, view, assert_claims=options.assert_claims)


@dataclass(frozen=True, kw_only=True)
class Compare:
    one: Annotated[str, typer.Argument(metavar="A", help="An optimizer, an update or a folder of results.")]
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")]
    out: Out = OUT
    runner: Annotated[str | None, typer.Option(help="Results of this runner, not of the last one.")] = None
    task: Annotated[str | None, typer.Option(help="Only these tasks.")] = None
    optimizer: Annotated[str | None, typer.Option(help="Only these optimizers.")] = None
    update: Annotated[str | None, typer.Option(help="Only these updates.")] = None
    columns: Columns = None
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table"


@command(Compare)
def compare(options: Compare) -> None:
    """Compare two optimizers, two updates or two folders of results: differences, verdicts, seeds for 80 % power."""
    from synthbench.interface import commands
    from synthbench.reporting.comparison import RowFilter

    rows = RowFilter(
        _words("--task", options.task), _words("--optimizer", options.optimizer), _words("--update", options.update)
    )
    sides, columns = (options.one, options.other), _words("--columns", options.columns)
    commands.compare(sides, options.out, options.runner, rows, columns, options.form)


@dataclass(frozen=True, kw_only=True)
class Verify:
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The beginning of a run's id, as `export` prints it.", show_default=False),
    ] = None
    out: Out = OUT
    optimizer: Annotated[
        str | None, typer.Option(help="An optimizer to check; beside RUN, the plug-in that trained the run.")
    ] = None
    task: Annotated[
        str | None, typer.Option(help="A task to check; beside RUN, the run's where its card names code.")
    ] = None
    steps: Annotated[int, typer.Option(min=1, help="How many steps of the run.")] = 50
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="With --optimizer alone: optimizer.NAME=value or routing=hidden.")
    ] = None


@command(Verify)
def verify(options: Verify) -> None:
    """Check an optimizer (--optimizer) or a task (--task), or train a stored run again (RUN) and report the first
    diverging step."""
    from synthbench.verification import commands

    commands.verify(
        options.out, options.run, optimizer=options.optimizer, task=options.task, steps=options.steps,
        settings=options.set_ or (),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Baseline:
    runner: Runner = None
    optimizer: Annotated[str | None, typer.Option(help="The optimizer whose behaviour is recorded.")] = None
    file: Annotated[Path, typer.Option("-o", help="The file to write.")] = Path("baseline.json")
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite the file, having shown what changed.")] = (
        False
    )
    update: Annotated[bool, typer.Option("--update", hidden=True)] = False
    task: Annotated[str | None, typer.Option(help="A task, by name or path of a card.")] = None
    lr: Lr = None
    seeds: Seeds = None
    budget: Budget = None
    set_: Settings = None
    device: Device = "auto"
    jobs: Jobs = None
    results: Annotated[
        Path | None, typer.Option(help="Keep the runs in this folder, and use those that are there.")
    ] = None
    quiet: Silent = False


@command(Baseline)
def baseline(options: Baseline) -> None:
    """Record an optimizer's behaviour, for `check` to compare with; RUNNER is `gate` where none is given. With --overwrite
    alone, the experiment of the file is recorded again: its optimizer, card, rates and seeds."""
    from synthbench.experiment.resolve import RunRequest
    from synthbench.gate import commands

    if options.budget and options.seeds:
        raise BadInput("--budget and --seeds both set the number of seeds; give one of them.")
    if options.update:
        _notice("baseline --update is now --overwrite")
    overwrite = options.overwrite or options.update
    request = RunRequest(
        runner=options.runner or "gate", optimizers=_words("--optimizer", options.optimizer),
        tasks=_words("--task", options.task), lr=_numbers("--lr", options.lr),
        seeds=commands.seeds_of(options.budget) or _seeds(options.seeds), settings=options.set_ or (),
        device=options.device,
    )  # fmt: skip
    again = overwrite and not any((options.runner, options.optimizer, options.task, options.lr, options.set_))
    target = commands.RecordRequest(file=options.file, overwrite=overwrite, again=again, results=options.results)
    commands.make(request, target, commands.options(options.jobs, options.quiet, _command()))


@dataclass(frozen=True, kw_only=True)
class Check:
    file: Annotated[Path, typer.Argument(help="A baseline, as `synthbench baseline` wrote it.")]
    optimizer: Annotated[str | None, typer.Option(help="Another implementation to compare with the baseline.")] = None
    level: Annotated[str | None, typer.Option(help="exact, trace or behaviour.", show_default="trace if possible")] = (
        None
    )
    set_: Settings = None
    budget: Budget = None
    results: Annotated[Path | None, typer.Option(help="Compare runs of this folder; train none.")] = None
    form: Annotated[str, typer.Option("--format", help="table, json, markdown, github, junit or dashboard.")] = "table"
    out: Annotated[Path | None, typer.Option("-o", help="Write the format to this file, and print the table.")] = None
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="as recorded")] = None
    jobs: Jobs = None
    quiet: Silent = False


@command(Check)
def check(options: Check) -> None:
    """Measure again what a baseline recorded. Exits with 0: unchanged, 1: changed, 2: bad input, 3: inconclusive."""
    from synthbench.gate import check as checks
    from synthbench.gate import commands

    request = checks.CheckRequest(
        optimizer=options.optimizer, settings=options.set_ or (), level=options.level, results=options.results,
        seeds=commands.seeds_of(options.budget), device=options.device,
    )  # fmt: skip
    output = commands.OutputOptions(form=options.form, file=options.out)
    commands.compare(options.file, request, output, commands.options(options.jobs, options.quiet, _command()))


@app.command()
def export(
    runner: Runner = None,
    out: Out = OUT,
    form: Annotated[str, typer.Option("--format", help="jsonl, csv or json.")] = "jsonl",
) -> None:
    """Print every run of the last experiment in a folder of results, one object each."""
    from synthbench.interface import commands

    commands.export(out, runner, form)


@app.command("export-data")
def export_data(
    task: Annotated[str, typer.Argument(help="A task's name, such as wugs:20-4x, or the path of its card.")],
    stage: Annotated[str | None, typer.Option(help="Only this stage.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Root seed that the data is drawn for.")] = 0,
    form: Annotated[str, typer.Option("--format", help="jsonl, or parquet (extra: data).")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="Folder to write.", show_default="synthbench-data/TASK")] = None,
) -> None:
    """Write a task's examples as readable text, for a language model of any kind."""
    from synthbench.reporting import export_data

    export_data.export(task, stage, seed, form, out)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="task, runner, optimizer or generator.")],
    name: Annotated[str, typer.Argument(help="Its name, which also names the file.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.", show_default="here")] = Path(),
) -> None:
    """Write a commented file to start from, which works as it is."""
    from synthbench.interface.scaffold.new import write

    if kind == "rule":
        _notice("new rule is now new optimizer")
        kind = "optimizer"
    for line in write(kind, name, out):
        typer.echo(line)


@app.command()
def schema(kind: Annotated[str, typer.Argument(help="task or runner.")]) -> None:
    """Print the JSON Schema of task or runner cards, by which editors complete and check them."""
    from synthbench.interface.scaffold.schema import text

    typer.echo(text(kind))


@app.command()
def gc(
    out: Out = OUT,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it.")] = False,
) -> None:
    """List what no experiment in a folder of results uses, and with --yes delete it."""
    from synthbench.interface import commands

    commands.gc(out, yes=yes)


def _version(asked: bool) -> None:
    if asked:
        from synthbench import __version__

        typer.echo(f"synthbench {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; goes with every command.")] = False,
) -> None:
    pass


def _notice(renamed: str) -> None:
    print(f"synthbench: {renamed}; {RENAMED}", file=sys.stderr)


def _words(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise BadInput(f"{option} {shown(text)} has an empty entry; give names separated by commas.")
    return words


def _numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(_ascii(word)) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"{option} {shown(text)} must be numbers separated by commas, such as 1e-3,3e-3.") from None


def _seeds(text: str | None) -> int | list[int] | None:
    if text is None:
        return None
    try:
        numbers = [int(_ascii(word)) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"--seeds {shown(text)} must be a count, or seeds separated by commas, such as 0,4,7.") from None
    return numbers if "," in text else numbers[0]


def _ascii(number: str) -> str:
    """The number; raises ValueError for what only Python reads as one: `1_0`, or digits of other scripts."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number


def _command() -> str:
    """The command as typed, for the record."""
    import shlex

    return inert(shlex.join(["synthbench", *sys.argv[1:]]))
