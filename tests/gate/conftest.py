"""A small baseline of AdamW and the folder that it was recorded in, shared by the tests of this folder; none changes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthbench.gate import baseline as baselines
from synthbench.gate import check
from synthbench.gate.baseline import Baseline
from synthbench.gate.check import CheckRequest, CheckResult
from synthbench.gate.commands import options
from tests.gate import small


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="session")
def recorded(folder: Path) -> Baseline:
    """Also at `folder/adamw.json`, its runs in `folder/results`."""
    baseline = small.baseline(folder)
    baselines.write(baseline, folder / "adamw.json")
    return baseline


@pytest.fixture
def checked(recorded: Baseline) -> Callable[..., CheckResult]:
    """checked(baseline, level="trace") checks a baseline, by default the shared one."""

    def run_check(baseline: Baseline | None = None, **request: Any) -> CheckResult:
        return check.check(
            baseline or recorded, "the baseline", CheckRequest(**request), options(1, quiet=True, command="a test")
        )

    return run_check
