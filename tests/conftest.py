"""Tests use one thread, as a worker does: a run is then bitwise the same in every fleet. Hypothesis tries the same cases
on every machine, without a deadline."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import settings

from synthbench.execution import pace, process_pool
from synthbench.generators import GENERATORS
from synthbench.store.results import Store
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS
from tests import inprocess
from tests.calling import Caller

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")

PREDICT = pace.predict
EXECUTOR = "synthbench.execution.engine.local"
# Environment variables that change printed output. Tests start without them.
PRINTING = (
    "CI", "COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "LINES", "NO_COLOR", "PYTEST_ADDOPTS",
    "TTY_COMPATIBLE",
)  # fmt: skip
FIGURES: list[str] = []  # measured times, printed at the end of pytest's output


def pytest_configure() -> None:
    torch.set_num_threads(1)  # before any fixture trains
    for name in PRINTING:
        os.environ.pop(name, None)
    # `pytest &` and nohup ignore these signals, and children inherit that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "timed" in item.keywords:
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


@pytest.fixture
def measured() -> Callable[[str, float, float], None]:
    """measured("an interrupt ends it", seconds, 4.0) asserts the bound and prints the time at the end of pytest's output.

    For tests that are marked `timed`."""

    def note(label: str, seconds: float, bound: float) -> None:
        FIGURES.append(f"{label}: {seconds:.2f} s (at most {bound:g} s)")
        assert seconds <= bound, FIGURES[-1]

    return note


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Restores one thread after a test that changes it."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Removes the optimizers and generators that a test registers."""
    registries: list[dict[Any, Any]] = [OPTIMIZERS, IMPLEMENTATIONS, GENERATORS]
    saved = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, saved, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(scope="session", autouse=True)
def _in_process() -> Iterator[None]:
    """Trains fleets in this process, except in tests that are marked `processes`."""
    with patch(EXECUTOR, lambda: inprocess.InProcess):
        yield


@pytest.fixture(scope="session", autouse=True)
def _untimed() -> Iterator[None]:
    """A dry run times nothing, except in tests that are marked `processes`: it would take longer than the test."""
    with patch("synthbench.execution.pace.predict", lambda remaining, *_: float(sum(run.steps for run in remaining))):
        yield


@pytest.fixture(autouse=True)
def _processes(request: pytest.FixtureRequest) -> Iterator[None]:
    if "processes" not in request.keywords:
        yield
        return
    with patch(EXECUTOR, lambda: process_pool.ProcessPool), patch("synthbench.execution.pace.predict", PREDICT):
        yield


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capfd)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with closing(Store.create(tmp_path / "results")) as created:
        yield created
