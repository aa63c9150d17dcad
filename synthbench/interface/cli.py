"""The command line. Everything heavy is imported where it is used, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from synthbench.common.errors import BadInput, Refuted
from synthbench.interface.app import app, command
from synthbench.interface.options import (
    OUT,
    Assert,
    Axes,
    Budget,
    Columns,
    Device,
    FleetCpus,
    FleetGpus,
    FleetSize,
    Jobs,
    Lr,
    Optimizers,
    Out,
    Path_,
    Runner,
    Seeds,
    Settings,
    Silent,
    Tasks,
    Updates,
    as_typed,
    notice,
    numbers,
    seeds,
    words,
)
from synthbench.trainer.native import path as paths

if TYPE_CHECKING:
    from synthbench.experiment.resolve import RunRequest


__all__ = ["app"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is to be run."""

    runner: Runner = None
    optimizer: Optimizers = None
    task: Tasks = None
    update: Updates = None
    lr: Lr = None
    weight_decay: Annotated[str | None, Option(help="Weight decays of the last stage.")] = None
    axis: Axes = None
    seeds: Seeds = None
    set_: Settings = None

    def request(self, **more: Any) -> RunRequest:
        from synthbench.experiment.resolve import RunRequest

        return RunRequest(
            runner=self.runner or "quick", optimizers=words("--optimizer", self.optimizer),
            tasks=words("--task", self.task), updates=words("--update", self.update),
            lr=numbers("--lr", self.lr), weight_decay=numbers("--weight-decay", self.weight_decay),
            seeds=seeds(self.seeds), settings=self.set_ or (), axes=self.axis or (), **more,
        )  # fmt: skip


@command
class Run(Selection):
    """Run an experiment and print its table. Rerun the command to resume where it stopped."""

    device: Device = "auto"
    path: Path_ = paths.DEFAULT
    jobs: Jobs = None
    fleet_size: FleetSize = None
    engine: Annotated[str, Option(help="local, or ray (extra: ray): fleets are trained on a cluster.")] = "local"
    address: Annotated[str | None, Option(help="Of a running Ray cluster.", show_default="starts one here")] = None
    fleet_cpus: FleetCpus = 1.0
    fleet_gpus: FleetGpus = 1.0
    track: Annotated[str | None, Option(help="tensorboard, mlflow or wandb: draws runs (extras of these names).")] = (
        None
    )
    out: Out = OUT
    keep_weights: Annotated[str, Option(help="none, chosen or all.")] = "chosen"
    fresh: Annotated[bool, Option("--fresh", help="Train anew; earlier attempts are kept.")] = False
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be trained and how long it takes.")] = False
    quiet: Silent = False
    assert_claims: Assert = False
    debug: Annotated[bool, Option("--debug", help="Show tracebacks.")] = False

    def __call__(self) -> None:
        from synthbench.execution.engine import Engine
        from synthbench.execution.session import ExecutionOptions
        from synthbench.interface import commands

        engine = Engine(name=self.engine, address=self.address, cpus=self.fleet_cpus, gpus=self.fleet_gpus)
        request = self.request(device=self.device, path=self.path, is_elsewhere=not engine.is_here)
        execution = ExecutionOptions(
            out=self.out, jobs=self.jobs, fleet_size=self.fleet_size, keep_weights=self.keep_weights,
            fresh=self.fresh, quiet=self.quiet, command=as_typed(), engine=engine,
            track=words("--track", self.track) or (),
        )  # fmt: skip
        commands.run(request, execution, dry_run=self.dry_run, assert_claims=self.assert_claims)


@command
class Plan(Selection):
    """Simulate a run on a cluster: how long it takes, how much of it is idle, what moves, what it costs."""

    gpus: Annotated[int | None, Option(help="Of the cluster.", show_default="none: it has CPUs")] = None
    cpus: Annotated[int, Option(help="Of the cluster, where it has no GPUs.")] = 64
    engine: Annotated[str, Option(help="ray.")] = "ray"
    fleet_cpus: FleetCpus = 1.0
    fleet_gpus: FleetGpus = 1.0
    fleet_size: FleetSize = None
    speed: Annotated[
        float | None,
        Option(help="How many times as fast as here a fleet is trained there.", show_default="1 without --gpus"),
    ] = None
    out: Out = OUT

    def __call__(self) -> None:
        from synthbench.execution.engine import Engine
        from synthbench.execution.session import ExecutionOptions
        from synthbench.interface import commands

        engine = Engine(name=self.engine, cpus=self.fleet_cpus, gpus=self.fleet_gpus)
        options = ExecutionOptions(out=self.out, fleet_size=self.fleet_size, engine=engine)
        commands.plan(self.request(), options, gpus=self.gpus, cpus=self.cpus, speed=self.speed)


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
            notice("report --update is now --into")
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
            notice("baseline --update is now --overwrite")
        overwrite = self.overwrite or self.update
        request = RunRequest(
            runner=self.runner or "gate", optimizers=words("--optimizer", self.optimizer),
            tasks=words("--task", self.task), lr=numbers("--lr", self.lr),
            seeds=commands.seeds_of(self.budget) or seeds(self.seeds), settings=self.set_ or (), device=self.device,
        )  # fmt: skip
        again = overwrite and not any((self.runner, self.optimizer, self.task, self.lr, self.set_))
        target = commands.RecordRequest(file=self.file, overwrite=overwrite, again=again, results=self.results)
        commands.make(request, target, commands.options(self.jobs, quiet=self.quiet, command=as_typed()))


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
        commands.compare(self.file, request, output, commands.options(self.jobs, quiet=self.quiet, command=as_typed()))


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
        notice("new rule is now new optimizer")
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
