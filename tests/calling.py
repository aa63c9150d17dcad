"""Calls the command line in this process, as the console script does."""

from __future__ import annotations

import re
import shlex
import sys
from typing import NamedTuple

import pytest
from typer.main import get_command

from synthbench.interface import cli, outcome

# Few steps and one seed, so that `quick` takes about a second. Only for tests of what surrounds training.
TINY = {
    "stages.pretrain.steps": 4, "stages.pretrain.for.sgd.steps": 4, "stages.finetune.steps": 4,
    "stages.finetune.points": 2, "reading.sample": 8, "reading.bracket_sample": 8,
}  # fmt: skip
SHORT = " ".join(["--seeds 1 --jobs 1", *(f"--set {path}={value}" for path, value in TINY.items())])


APP = get_command(cli.app)  # typer would build it at every call


class Completed(NamedTuple):
    """A finished command: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def has_plain_error(self) -> bool:
        """Whether standard error is one to three lines without a traceback."""
        return 1 <= len(self.err.strip().splitlines()) <= 3 and not re.search("Traceback|Internal error", self.err)


class Caller:
    """caller("run quik") -> exit code, standard output, standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        monkeypatch.setattr(outcome, "app", APP)

    def __call__(self, command: str) -> Completed:
        self._monkeypatch.setattr(sys, "argv", ["synthbench", *shlex.split(command)])
        self._capfd.readouterr()
        code = outcome.outcome()
        return Completed(code, *self._capfd.readouterr())
