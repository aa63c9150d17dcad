"""The command line. Everything heavy is imported where it is used, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import io
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from synthbench.common.errors import BadInput, Failed, SynthbenchError, is_disk_failure
from synthbench.common.terminal import CLOSED_PIPE, Quiet, abandon_stdout, open_closed_streams
from synthbench.common.wording import inert, short, shown
from synthbench.execution import interrupt

app = typer.Typer(
    name="synthbench",
    help="What an optimizer makes a language model learn (rote facts or the rule behind them), and what it forgets.",
    epilog="Start with: synthbench run --optimizer muon",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
OUT = Path("synthbench-results")

Out = Annotated[Path, typer.Option("--out", help="Folder of results.", show_default=True)]
Runner = Annotated[str | None, typer.Argument(help="A runner's name or the path of its card.", show_default=False)]

Assert = Annotated[
    bool, typer.Option("--assert-claims", help="Exit 1 where a claim is refuted, 3 where one is not measured.")
]
Columns = Annotated[str | None, typer.Option("--columns", help="Scores in place of the card's, such as fit,learning.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="path=value in the card; repeatable.")]
Jobs = Annotated[int | None, typer.Option(help="Worker processes.", show_default="one per core")]
Silent = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Budget = Annotated[str | None, typer.Option(help="20s, 60s or 5m: seeds that two CPU cores train in that time.")]


@app.command()
def run(
    runner: Runner = None,
    optimizer: Annotated[str | None, typer.Option(help="Optimizers, such as muon or adamw,sgd.")] = None,
    task: Annotated[str | None, typer.Option(help="Tasks, by name or path of a card.")] = None,
    update: Annotated[str | None, typer.Option(help="Updates: full, full-hidden, lora-R.")] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rates of the last stage, such as 1e-3,3e-3.")] = None,
    weight_decay: Annotated[str | None, typer.Option(help="Weight decays of the last stage.")] = None,
    seeds: Annotated[str | None, typer.Option(help="How many seeds, or which: 0,4,7.")] = None,
    set_: Set = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Jobs = None,
    fleet_size: Annotated[int | None, typer.Option(help="Runs trained as one batched model.")] = None,
    out: Out = OUT,
    keep_weights: Annotated[str, typer.Option(help="none, chosen or all.")] = "chosen",
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew; earlier attempts are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and how long it takes.")] = False,
    quiet: Silent = False,
    assert_claims: Assert = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Run an experiment and print its table. The same command again goes on where it stopped."""
    from synthbench.execution import session
    from synthbench.experiment.resolve import RunRequest
    from synthbench.interface import commands

    asked = RunRequest(
        runner or "quick", _words("--optimizer", optimizer), _words("--task", task), _words("--update", update),
        _numbers("--lr", lr), _numbers("--weight-decay", weight_decay), _seeds(seeds), set_ or (), device,
    )  # fmt: skip
    options = session.ExecutionOptions(
        out=out, jobs=jobs, fleet_size=fleet_size, keep_weights=keep_weights, fresh=fresh, quiet=quiet, command=_command()
    )
    commands.run(asked, options, dry_run=dry_run, assert_claims=assert_claims)


@app.command("ls")
def list_(
    kind: Annotated[str, typer.Argument(help="task, runner, optimizer, score, generator or model.")],
    form: Annotated[str, typer.Option("--format", help="table or markdown.")] = "table",
) -> None:
    """List what there is of a kind."""
    from synthbench.interface import listing

    listing.show_list(kind, form)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="task, runner, optimizer, score or generator.")],
    name: Annotated[str, typer.Argument(help="Its name, the path of a card, or path/file.py:Name.")],
) -> None:
    """Show one thing: a task's examples, a runner's card, what a generator or an optimizer takes, a score's formula."""
    from synthbench.interface import listing

    listing.show_one(kind, name)


@app.command()
def report(
    runner: Runner = None,
    out: Out = OUT,
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, claims, csv, json, latex or reference.")
    ] = "table",
    update: Annotated[Path | None, typer.Option(help="Put the table as markdown between this file's markers.")] = None,
    sort: Annotated[str | None, typer.Option(help="Rows by this score, the best first.")] = None,
    columns: Columns = None,
    versus: Annotated[str | None, typer.Option(help="Show differences to the rows of this optimizer.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Draw figures into this folder (extra: plots).")] = None,
    assert_claims: Assert = False,
) -> None:
    """Print the table of the last experiment in a folder of results."""
    from synthbench.interface import commands
    from synthbench.reporting.view import View

    commands.report(out, runner, form, update, View(sort, _words("--columns", columns), versus), figures, assert_claims)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="An optimizer, an update or a folder of results.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    out: Out = OUT,
    runner: Annotated[str | None, typer.Option(help="Results of this runner, not of the last one.")] = None,
    task: Annotated[str | None, typer.Option(help="Only these tasks.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Only these optimizers.")] = None,
    update: Annotated[str | None, typer.Option(help="Only these updates.")] = None,
    columns: Columns = None,
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
) -> None:
    """Compare two optimizers, two updates or two folders of results: differences, verdicts, seeds it would take."""
    from synthbench.interface import commands
    from synthbench.reporting.comparison import RowFilter

    narrow = RowFilter(_words("--task", task), _words("--optimizer", optimizer), _words("--update", update))
    commands.compare(one, other, out, runner, narrow, _words("--columns", columns), form)


@app.command()
def verify(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The beginning of a run's id, as `export` prints it.", show_default=False),
    ] = None,
    out: Out = OUT,
    optimizer: Annotated[
        str | None, typer.Option(help="An optimizer to check; beside RUN, the plug-in that the run was trained by.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="A task whose data to check; beside RUN, the run's own where it names code.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="How many steps of the run.")] = 50,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="With --optimizer alone: optimizer.NAME=value or routing=hidden.")
    ] = None,
) -> None:
    """Check an optimizer (--optimizer) or a task (--task), or train a stored run again (RUN) and say where it parts."""
    from synthbench.verification import commands

    commands.verify(out, run, optimizer, task, steps, set_ or ())


@app.command()
def baseline(
    runner: Runner = None,
    optimizer: Annotated[str | None, typer.Option(help="The optimizer whose behaviour is recorded.")] = None,
    file: Annotated[Path, typer.Option("-o", help="The file to write.")] = Path("baseline.json"),
    update: Annotated[bool, typer.Option("--update", help="Overwrite the file, having shown what moved.")] = False,
    task: Annotated[str | None, typer.Option(help="A task, by name or path of a card.")] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rates of the last stage.")] = None,
    seeds: Annotated[str | None, typer.Option(help="How many seeds, or which: 0,4,7.")] = None,
    budget: Budget = None,
    set_: Set = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Jobs = None,
    results: Annotated[Path | None, typer.Option(help="Keep the runs in this folder, and take what is there.")] = None,
    quiet: Silent = False,
) -> None:
    """Record what an optimizer does, for `check` to compare with; RUNNER is `gate` where none is given. With --update
    alone, what the file recorded is recorded again: its optimizer, card, rates and seeds."""
    from synthbench.experiment.resolve import RunRequest
    from synthbench.gate import commands

    if budget and seeds:
        raise BadInput("--budget and --seeds both say how many seeds; give one of them.")
    asked = RunRequest(
        runner or "gate", _words("--optimizer", optimizer), _words("--task", task), None, _numbers("--lr", lr), None,
        commands.seeds(budget) or _seeds(seeds), set_ or (), device,
    )  # fmt: skip
    again = update and not any((runner, optimizer, task, lr, set_))
    commands.make(asked, commands.Target(file, update, again, results), commands.options(jobs, quiet, _command()))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A baseline, as `synthbench baseline` wrote it.")],
    optimizer: Annotated[str | None, typer.Option(help="Another implementation to compare with the baseline.")] = None,
    level: Annotated[
        str | None, typer.Option(help="exact, trace or behaviour.", show_default="trace if possible")
    ] = None,
    set_: Set = None,
    budget: Budget = None,
    results: Annotated[Path | None, typer.Option(help="Compare runs of this folder; train none.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, markdown, github, junit or dashboard.")] = "table",
    out: Annotated[Path | None, typer.Option("-o", help="Write the format to this file, and print the table.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="as recorded")] = None,
    jobs: Jobs = None,
    quiet: Silent = False,
) -> None:
    """Measure again what a baseline recorded. Exits with 0: unchanged, 1: changed, 2: bad input, 3: could not tell."""
    from synthbench.gate import commands

    wanted = commands.CheckRequest(optimizer, set_ or (), level, results, commands.seeds(budget), device)
    commands.compare(file, wanted, commands.OutputOptions(form, out), commands.options(jobs, quiet, _command()))


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
    kind: Annotated[str, typer.Argument(help="task, runner, rule or generator.")],
    name: Annotated[str, typer.Argument(help="Its name, from which the file gets its own.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.", show_default="here")] = Path(),
) -> None:
    """Write a commented file to start from, which works as it is."""
    from synthbench.interface.scaffold.new import write

    for line in write(kind, name, out):
        typer.echo(line)


@app.command()
def schema(kind: Annotated[str, typer.Argument(help="task or runner.")]) -> None:
    """Print the JSON Schema of a kind of cards, by which editors complete and check them."""
    from synthbench.interface.scaffold.schema import text

    typer.echo(text(kind))


@app.command()
def gc(
    out: Out = OUT,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it.")] = False,
) -> None:
    """List what no experiment in a folder of results uses, and with --yes delete it."""
    from synthbench.interface import commands

    commands.gc(out, yes)


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
    """A number as written; raises ValueError where it is one in Python only: `1_0`, or digits of other scripts."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number


def _command() -> str:
    """The command as typed, for the record."""
    import shlex

    return inert(shlex.join(["synthbench", *sys.argv[1:]]))


def _debugging() -> bool:
    return "--debug" in sys.argv


def main() -> NoReturn:
    """The console script: runs a command and turns every outcome into an exit code and at most three plain lines."""
    open_closed_streams()
    interrupt.as_ctrl_c()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a table has ± and arrows, whatever a terminal can show
    sys.stderr = Quiet(sys.stderr)
    sys.exit(outcome())


def outcome() -> int:
    try:
        result: Any = app([word for word in sys.argv[1:] if word != "--debug"], standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        return interrupt.CODE
    except (BrokenPipeError, SystemExit) as error:
        # The command-line library makes the second of the first. Any other is of a person's code, and no end of ours.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            return _say(_saved(traceback.format_exc()), 4)
        abandon_stdout()
        return CLOSED_PIPE
    except Failed as error:
        return _say(f"{_saved(str(error))}" if "Traceback" in str(error) else str(error), error.exit_code)
    except SynthbenchError as error:
        if _debugging():
            traceback.print_exc()
        return _say(str(error), error.exit_code)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the command-line library
            return _say(error.format_message(), 2)
        if error.__class__.__name__ == "Abort":
            return interrupt.CODE
        if isinstance(error, OSError) and (error.filename or is_disk_failure(error)):
            if not error.filename:
                abandon_stdout()
            said = f"{error.filename or 'The output'} could not be used ({error.strerror})"
            return _say(f"{said}; what was finished is kept.", 4 if is_disk_failure(error) else 2)
        return _say(_saved(traceback.format_exc()), 4)


def _say(text: str, code: int) -> int:
    """Prints at most three plain lines, for a person's own words may be in them."""
    lines = [short(inert(line), 400) for line in text.splitlines() if line.strip()][:3]
    print("synthbench: " + "\n".join(lines or ["failed"]), file=sys.stderr)
    return code


def _saved(trace: str) -> str:
    """Saves a traceback and says where, with its last line."""
    if _debugging():
        print(trace, file=sys.stderr)
    last = trace.strip().splitlines()[-1]
    broken = f"Something broke that is not your doing ({last[:200]})"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="synthbench-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
    except OSError as error:
        return f"{broken}; the traceback could not be saved ({error.strerror}), --debug shows it."
    return f"{broken}; the traceback is in {file.name}."
