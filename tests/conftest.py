"""One thread, as in a worker: then a member is bitwise the same whatever its fleet. Hypothesis tries the same cases
everywhere and does not watch the clock."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import settings

from synthbench.execution import process_pool
from synthbench.generators import GENERATORS
from synthbench.store.results import Store
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS
from tests import inprocess
from tests.calling import Caller

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")

EXECUTOR = "synthbench.execution.session.executor"
# What changes how a program prints: tests see the same everywhere, and set what they are about.
PRINTING = (
    "CI", "COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "LINES", "NO_COLOR", "PYTEST_ADDOPTS",
    "TTY_COMPATIBLE",
)  # fmt: skip
FIGURES: list[str] = []  # what tests have measured, for the end of pytest's output


def pytest_configure() -> None:
    torch.set_num_threads(1)  # before any fixture trains
    for name in PRINTING:
        os.environ.pop(name, None)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # `pytest &` and nohup have them ignored, by children too
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
    """measured("an interrupt ends it", seconds, 4.0): prints the figure below pytest's output, and asserts the bound. For
    tests that are marked `timed`."""

    def note(what: str, seconds: float, bound: float) -> None:
        FIGURES.append(f"{what}: {seconds:.2f} s (at most {bound:g} s)")
        assert seconds <= bound, FIGURES[-1]

    return note


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A test may change it."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Puts back what a test registers: optimizers and generators from elsewhere."""
    registries: list[dict[Any, Any]] = [OPTIMIZERS, IMPLEMENTATIONS, GENERATORS]
    before = [dict(registry) for registry in registries]
    yield
    for registry, old in zip(registries, before, strict=True):
        registry.clear()
        registry.update(old)


@pytest.fixture(scope="session", autouse=True)
def _in_process() -> Iterator[None]:
    """Fleets are trained in this process, but in tests that are marked `processes`."""
    with patch(EXECUTOR, lambda: inprocess.InProcess):
        yield


@pytest.fixture(autouse=True)
def _processes(request: pytest.FixtureRequest) -> Iterator[None]:
    with patch(EXECUTOR, lambda: process_pool.ProcessPool) if "processes" in request.keywords else nullcontext():
        yield


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capfd)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty folder of results."""
    with closing(Store.create(tmp_path / "results")) as created:
        yield created
