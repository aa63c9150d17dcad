"""The program, and how a class becomes one of its commands."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform

import typer
from typer import Option

from synthbench import __version__

app = typer.Typer(
    name="synthbench",
    help="What an optimizer makes a language model learn (rote facts or the rule behind them), and what it forgets.",
    epilog="Start with: synthbench run --optimizer muon",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
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
