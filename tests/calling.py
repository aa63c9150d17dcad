"""Calls the command line in this process, as the console script does."""

from __future__ import annotations

import shlex
import sys
from typing import NamedTuple

import pytest
from typer.main import get_command

from synthbench.interface import cli, outcome

# What makes `quick` a matter of a second: few steps, and one seed. Only for tests of what surrounds training.
TINY = {
    "stages.pretrain.steps": 4, "stages.pretrain.for.sgd.steps": 4, "stages.finetune.steps": 4,
    "stages.finetune.points": 2, "reading.sample": 8,
}  # fmt: skip
SHORT = " ".join(["--seeds 1 --jobs 1", *(f"--set {path}={value}" for path, value in TINY.items())])


APP = get_command(cli.app)  # made once: typer makes it anew at every call


class Called(NamedTuple):
    code: int
    out: str
    err: str


class Caller:
    """caller("run quik") -> exit code, standard output, standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        monkeypatch.setattr(outcome, "app", APP)

    def __call__(self, command: str) -> Called:
        self._monkeypatch.setattr(sys, "argv", ["synthbench", *shlex.split(command)])
        self._capfd.readouterr()
        code = outcome.outcome()
        return Called(code, *self._capfd.readouterr())
