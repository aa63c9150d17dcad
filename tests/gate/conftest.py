"""A small baseline of AdamW and the folder that it was recorded in, for all tests of this folder. No test changes them."""

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
    found = small.baseline(folder)
    baselines.write(found, folder / "adamw.json")
    return found


@pytest.fixture
def checked(recorded: Baseline) -> Callable[..., CheckResult]:
    """checked(baseline, level="trace"): the baseline (none: the shared one) is checked."""

    def checks(baseline: Baseline | None = None, **wanted: Any) -> CheckResult:
        return check.check(baseline or recorded, "the baseline", CheckRequest(**wanted), options(1, True, "a test"))

    return checks
