"""The command line. Everything heavy is imported where it is used, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import typer
from typer import Argument, Option

from synthbench import __version__
from synthbench.common.errors import BadInput, Refuted
from synthbench.common.wording import inert
from synthbench.interface.listed import numbers, seeds, words

app = typer.Typer(
    name="synthbench",
    help="What an optimizer makes a language model learn (rote facts or the rule behind them), and what it forgets.",
    epilog="Start with: synthbench run --optimizer muon",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
OUT = Path("synthbench-results")
Out = Annotated[Path, Option("--out", help="Folder of results.", show_default=True)]
Runner = Annotated[str | None, Argument(help="A runner's name or the path of its card.", show_default=False)]
Assert = Annotated[bool, Option("--assert-claims", help="Exit 1 where a claim is refuted, 3 where one isn't measured.")]
Columns = Annotated[str | None, Option("--columns", help="Scores in place of the card's, such as fit,learning.")]
Settings = Annotated[list[str] | None, Option("--set", help="path=value in the card; repeatable.")]
Jobs = Annotated[int | None, Option(help="Worker processes.", show_default="one per core")]
Silent = Annotated[bool, Option("--quiet", help="No progress.")]
Budget = Annotated[str | None, Option(help="20s, 60s or 5m: time budget; sets the number of seeds.")]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
Seeds = Annotated[str | None, Option(help="How many seeds, or which: 0,4,7 or 100-131.")]
Lr = Annotated[str | None, Option(help="Learning rates of the last stage, such as 1e-3,3e-3.")]

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def command(kind: type[Kind]) -> type[Kind]:
    """Registers a class as a command: its fields are the options, its docstring is the help; an instance is called."""
    options: Any = dataclass(frozen=True, kw_only=True)(kind)

    def call(**values: Any) -> None:
        options(**values)()

    call.__doc__, call.__signature__ = kind.__doc__, inspect.signature(kind, eval_str=True)  # type: ignore[attr-defined]
    app.command(kind.__name__.lower())(call)
    return kind


@command
class Run:
    """Run an experiment and print its table. Rerun the command to resume where it stopped."""

    runner: Runner = None
    optimizer: Annotated[str | None, Option(help="Optimizers, such as muon or adamw,sgd.")] = None
    task: Annotated[str | None, Option(help="Tasks, by name or path of a card.")] = None
    update: Annotated[str | None, Option(help="Trainable weights: full, full-hidden, lora-R.")] = None
    lr: Lr = None
    weight_decay: Annotated[str | None, Option(help="Weight decays of the last stage.")] = None
    axis: Annotated[list[str] | None, Option(help="PATH=a,b: values that are crossed with everything.")] = None
    seeds: Seeds = None
    set_: Settings = None
    device: Device = "auto"
    jobs: Jobs = None
    fleet_size: Annotated[int | None, Option(help="Runs trained as one batched model.")] = None
    out: Out = OUT
    keep_weights: Annotated[str, Option(help="none, chosen or all.")] = "chosen"
    fresh: Annotated[bool, Option("--fresh", help="Train anew; earlier attempts are kept.")] = False
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be trained and how long it takes.")] = False
    quiet: Silent = False
    assert_claims: Assert = False
    debug: Annotated[bool, Option("--debug", help="Show tracebacks.")] = False

    def __call__(self) -> None:
        from synthbench.execution.session import ExecutionOptions
        from synthbench.experiment.resolve import RunRequest
        from synthbench.interface import commands

        request = RunRequest(
            runner=self.runner or "quick", optimizers=words("--optimizer", self.optimizer),
            tasks=words("--task", self.task), updates=words("--update", self.update),
            lr=numbers("--lr", self.lr), weight_decay=numbers("--weight-decay", self.weight_decay),
            seeds=seeds(self.seeds), settings=self.set_ or (), axes=self.axis or (), device=self.device,
        )  # fmt: skip
        execution = ExecutionOptions(
            out=self.out, jobs=self.jobs, fleet_size=self.fleet_size, keep_weights=self.keep_weights,
            fresh=self.fresh, quiet=self.quiet, command=_command(),
        )  # fmt: skip
        commands.run(request, execution, dry_run=self.dry_run, assert_claims=self.assert_claims)


@app.command("ls")
def list_(
    kind: Annotated[str, Argument(help="task, runner, optimizer, score, generator or model.")],
    form: Annotated[str, Option("--format", help="table or markdown.")] = "table",
) -> None:
    """List all tasks, runners, optimizers, scores, generators or models."""
    from synthbench.interface import listing

    listing.show_list(kind, form)


@app.command()
def show(
    kind: Annotated[str, Argument(help="task, runner, optimizer, score or generator.")],
    name: Annotated[str, Argument(help="Its name, the path of a card, or path/file.py:Name.")],
) -> None:
    """Show a task's examples, a runner's card, the arguments of a generator or an optimizer, a score's formula."""
    from synthbench.interface import listing

    listing.show_one(kind, name)


@command
class Report:
    """Print the table of the last experiment in a folder of results, or in several as if they were one."""

    names: Annotated[
        list[str] | None,
        Argument(
            metavar="[RUNNER] [FOLDER]...", show_default=False,
            help="A runner's name or the path of its card. Folders of results to read in place of --out.",
        ),
    ] = None  # fmt: skip
    out: Out = OUT
    form: Annotated[str, Option("--format", help="table, markdown, claims, csv, json, latex or reference.")] = "table"
    into: Annotated[Path | None, Option(help="Put the table as markdown between this file's markers.")] = None
    update: Annotated[Path | None, Option(hidden=True)] = None
    sort: Annotated[str | None, Option(help="Sort rows by this score, the best first.")] = None
    columns: Columns = None
    versus: Annotated[str | None, Option(help="Show differences to the rows of this optimizer.")] = None
    figures: Annotated[Path | None, Option(help="Draw figures into this folder (extra: plots).")] = None
    assert_claims: Assert = False

    def __call__(self) -> None:
        from synthbench.interface import commands
        from synthbench.reporting.report import View

        if self.update:
            _notice("report --update is now --into")
        view = View.of(self.sort, words("--columns", self.columns), self.versus)
        folders = [Path(name) for name in self.names or () if (Path(name) / "results.db").is_file()]
        runners = [name for name in self.names or () if Path(name) not in folders]
        commands.report_of(
            folders, self.out, runners, view, form=self.form, into=self.into or self.update, figures=self.figures,
            assert_claims=self.assert_claims,
        )  # fmt: skip


@app.command()
def merge(
    folders: Annotated[list[Path], Argument(metavar="FOLDER...", help="Folders of results, as `run` wrote them.")],
    out: Annotated[Path, Option("--out", "-o", help="The folder that gets all of their runs; it may have some.")],
) -> None:
    """Put the runs of several folders of results, of several machines, into one."""
    from synthbench.interface import commands

    commands.merge(folders, out)


@command
class Compare:
    """Compare two optimizers, updates, values on an axis or folders of results: differences, verdicts, seeds for 80 %
    power."""

    one: Annotated[str, Argument(metavar="A", help="An optimizer, an update, AXIS=VALUE, or a folder of results.")]
    other: Annotated[str, Argument(metavar="B", help="Another one.")]
    out: Out = OUT
    runner: Annotated[str | None, Option(help="Results of this runner, not of the last one.")] = None
    task: Annotated[str | None, Option(help="Only these tasks.")] = None
    optimizer: Annotated[str | None, Option(help="Only these optimizers.")] = None
    update: Annotated[str | None, Option(help="Only these updates.")] = None
    columns: Columns = None
    form: Annotated[str, Option("--format", help="table, markdown, csv or json.")] = "table"

    def __call__(self) -> None:
        from synthbench.interface import commands
        from synthbench.reporting.comparison import RowFilter

        tasks, optimizers = words("--task", self.task), words("--optimizer", self.optimizer)
        rows = RowFilter(tasks, optimizers, words("--update", self.update))
        sides, columns = (self.one, self.other), words("--columns", self.columns)
        commands.compare(sides, self.out, self.runner, rows, columns, self.form)


@command
class Verify:
    """Check an optimizer (--optimizer) or a task (--task), or train a stored run again (RUN) and report the first
    diverging step."""

    run: Annotated[
        str | None,
        Argument(metavar="RUN", help="The beginning of a run's id, as `export` prints it.", show_default=False),
    ] = None
    out: Out = OUT
    optimizer: Annotated[
        str | None, Option(help="An optimizer to check; beside RUN, the plug-in that trained the run.")
    ] = None
    task: Annotated[str | None, Option(help="A task to check; beside RUN, the run's where its card names code.")] = None
    steps: Annotated[int, Option(min=1, help="How many steps of the run.")] = 50
    set_: Annotated[
        list[str] | None, Option("--set", help="With --optimizer alone: optimizer.NAME=value or routing=hidden.")
    ] = None

    def __call__(self) -> None:
        from rich.console import Console

        from synthbench.common import overrides
        from synthbench.verification.api import verify

        settings = {".".join(path): value for path, value in map(overrides.parse, self.set_ or ())}
        with Console(stderr=True).status("", spinner="line"):
            verification = verify(
                self.optimizer, task=self.task, run=self.run, out=self.out, steps=self.steps, settings=settings
            )
        print(verification)
        if verification.failure:
            raise Refuted(verification.failure)


@command
class Baseline:
    """Record an optimizer's behaviour, for `check` to compare with; RUNNER is `gate` where none is given. With --overwrite
    alone, the experiment of the file is recorded again: its optimizer, card, rates and seeds."""

    runner: Runner = None
    optimizer: Annotated[str | None, Option(help="The optimizer whose behaviour is recorded.")] = None
    file: Annotated[Path, Option("-o", help="The file to write.")] = Path("baseline.json")
    overwrite: Annotated[bool, Option("--overwrite", help="Overwrite the file, having shown what changed.")] = False
    update: Annotated[bool, Option("--update", hidden=True)] = False
    task: Annotated[str | None, Option(help="A task, by name or path of a card.")] = None
    lr: Lr = None
    seeds: Seeds = None
    budget: Budget = None
    set_: Settings = None
    device: Device = "auto"
    jobs: Jobs = None
    results: Annotated[Path | None, Option(help="Keep the runs in this folder, and use those that are there.")] = None
    quiet: Silent = False

    def __call__(self) -> None:
        from synthbench.experiment.resolve import RunRequest
        from synthbench.gate import commands

        if self.budget and self.seeds:
            raise BadInput("--budget and --seeds both set the number of seeds; give one of them.")
        if self.update:
            _notice("baseline --update is now --overwrite")
        overwrite = self.overwrite or self.update
        request = RunRequest(
            runner=self.runner or "gate", optimizers=words("--optimizer", self.optimizer),
            tasks=words("--task", self.task), lr=numbers("--lr", self.lr),
            seeds=commands.seeds_of(self.budget) or seeds(self.seeds), settings=self.set_ or (), device=self.device,
        )  # fmt: skip
        again = overwrite and not any((self.runner, self.optimizer, self.task, self.lr, self.set_))
        target = commands.RecordRequest(file=self.file, overwrite=overwrite, again=again, results=self.results)
        commands.make(request, target, commands.options(self.jobs, quiet=self.quiet, command=_command()))


@command
class Check:
    """Measure again what a baseline recorded. Exits with 0: unchanged, 1: changed, 2: bad input, 3: inconclusive."""

    file: Annotated[Path, Argument(help="A baseline, as `synthbench baseline` wrote it.")]
    optimizer: Annotated[str | None, Option(help="Another implementation to compare with the baseline.")] = None
    level: Annotated[str | None, Option(help="exact, trace or behaviour.", show_default="trace if possible")] = None
    set_: Settings = None
    budget: Budget = None
    results: Annotated[Path | None, Option(help="Compare runs of this folder; train none.")] = None
    form: Annotated[str, Option("--format", help="table, json, markdown, github, junit or dashboard.")] = "table"
    out: Annotated[Path | None, Option("-o", help="Write the format to this file, and print the table.")] = None
    device: Annotated[str | None, Option(help="cpu or cuda.", show_default="as recorded")] = None
    jobs: Jobs = None
    quiet: Silent = False

    def __call__(self) -> None:
        from synthbench.gate import check as checks
        from synthbench.gate import commands

        request = checks.CheckRequest(
            optimizer=self.optimizer, settings=self.set_ or (), level=self.level, results=self.results,
            seeds=commands.seeds_of(self.budget), device=self.device,
        )  # fmt: skip
        output = commands.OutputOptions(form=self.form, file=self.out)
        commands.compare(self.file, request, output, commands.options(self.jobs, quiet=self.quiet, command=_command()))


@app.command()
def export(
    runner: Runner = None,
    out: Out = OUT,
    form: Annotated[
        str, Option("--format", help="jsonl, csv or json; or paths: CSV with a line for each step and score.")
    ] = "jsonl",
) -> None:
    """Print every run of the last experiment in a folder of results, one object each."""
    from synthbench.interface import commands

    commands.export(out, runner, form)


@app.command("export-data")
def export_data(
    task: Annotated[str, Argument(help="A task's name, such as wugs:20-4x, or the path of its card.")],
    stage: Annotated[str | None, Option(help="Only this stage.", show_default="all")] = None,
    seed: Annotated[int, Option(help="Root seed that the data is drawn for.")] = 0,
    form: Annotated[str, Option("--format", help="jsonl, or parquet (extra: data).")] = "jsonl",
    out: Annotated[Path | None, Option(help="Folder to write.", show_default="synthbench-data/TASK")] = None,
) -> None:
    """Write a task's examples as readable text, for a language model of any kind."""
    from synthbench.reporting import export_data

    export_data.export(task, stage, seed, form, out)


@app.command()
def new(
    kind: Annotated[str, Argument(help="task, runner, optimizer or generator.")],
    name: Annotated[str, Argument(help="Its name, which also names the file.")],
    out: Annotated[Path, Option(help="Folder to write into.", show_default="here")] = Path(),
) -> None:
    """Write a commented file to start from, which works as it is."""
    from synthbench.interface.scaffold import write

    if kind == "rule":
        _notice("new rule is now new optimizer")
        kind = "optimizer"
    for line in write(kind, name, out):
        typer.echo(line)


@app.command()
def schema(kind: Annotated[str, Argument(help="task or runner.")]) -> None:
    """Print the JSON Schema of task or runner cards, by which editors complete and check them."""
    from synthbench.interface import scaffold

    typer.echo(json.dumps(scaffold.schema(kind), indent=1, ensure_ascii=False))


@app.command()
def gc(
    out: Out = OUT,
    yes: Annotated[bool, Option("--yes", help="Delete it.")] = False,
) -> None:
    """List what no experiment in a folder of results uses, and with --yes delete it."""
    from synthbench.interface import commands

    commands.gc(out, yes=yes)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"synthbench {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show tracebacks; goes with every command.")] = False,
) -> None:
    pass


def _notice(renamed: str) -> None:
    print(f"synthbench: {renamed}; the old name is read until version 0.2.", file=sys.stderr)


def _command() -> str:
    """The command as typed, for the record."""
    return inert(shlex.join(["synthbench", *sys.argv[1:]]))
