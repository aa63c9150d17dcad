"""Calls the command line in this process, as the console script does."""

from __future__ import annotations

import shlex
import sys
from typing import NamedTuple

import pytest

from synthbench import cli

# What makes `quick` a matter of a second: one seed, few steps. Only for tests of what surrounds training.
SHORT = (
    "--seeds 1 --jobs 1 --set stages.pretrain.steps=4 --set stages.pretrain.for.sgd.steps=4 --set stages.finetune.steps=4 "
    "--set stages.finetune.points=2 --set reading.sample=8"
)


class Called(NamedTuple):
    code: int
    out: str
    err: str


class Caller:
    """caller("run quik") -> exit code, standard output, standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, command: str) -> Called:
        self._monkeypatch.setattr(sys, "argv", ["synthbench", *shlex.split(command)])
        self._capfd.readouterr()
        code = cli.outcome()
        return Called(code, *self._capfd.readouterr())
