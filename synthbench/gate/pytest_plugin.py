"""The gate in a test suite: `pytest --synthbench-baseline FILE`, and a fixture for your optimizer.

    def test_my_adamw_behaves(synthbench_check):
        synthbench_check("adamw", optimizer=MyAdamW)

pytest loads this module wherever synthbench is installed, so nothing heavy is imported before a check runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = "synthbench_baselines"  # the setting for the folder of baselines that are given by name


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("synthbench", "behaviour of optimizers")
    group.addoption(
        "--synthbench-baseline", action="append", default=[], metavar="FILE",
        help="Check what this baseline recorded; repeatable.",
    )  # fmt: skip
    group.addoption(
        "--synthbench-level", default=None, metavar="LEVEL",
        help="exact, trace or behaviour (default: trace if possible), for checks that name none.",
    )  # fmt: skip
    parser.addini(FOLDER, "Folder of baselines that are given by name (default: baselines).", default="baselines")


@pytest.fixture
def synthbench_check(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """synthbench_check(baseline, optimizer=None, level=None, settings=None): checks an optimizer against a baseline and
    returns the result; fails the test where behaviour changed or the check is inconclusive.

    baseline: the name of a file in the folder of baselines, or a path. optimizer: a name, `path/file.py:Class`, or the
    class; None for the recorded one. settings: as of `check --set`, such as {"optimizer.betas": [0.9, 0.95]}.
    """
    config = request.config

    def check(baseline: str | Path, optimizer: Any = None, level: str | None = None, settings: Any = None) -> Any:
        __tracebackhide__ = True
        file = Path(baseline)
        if file.suffix != ".json" and len(file.parts) == 1:
            file = config.rootpath / str(config.getini(FOLDER)) / f"{baseline}.json"
        return run(file, optimizer, level or config.getoption("--synthbench-level"), settings)

    return check


def run(file: Path, optimizer: Any, level: str | None, settings: Any = None) -> Any:
    """A check; fails the running test where behaviour changed, where the check is inconclusive, or where it fails."""
    __tracebackhide__ = True
    from synthbench.common.errors import SynthbenchError
    from synthbench.gate import writers
    from synthbench.gate.api import check

    try:
        result = check(file, optimizer=optimizer, level=level, settings=settings)
    except SynthbenchError as error:
        text = str(error)
    else:
        if result.verdict == "unchanged":
            return result
        text = writers.as_text(result)
    pytest.fail(text, pytrace=False)  # outside of the handler: pytest would show the sentence twice


class Baseline(pytest.Item):
    """A baseline's file as a test."""

    def __init__(self, *, file: Path, level: str | None, **how: Any) -> None:
        super().__init__(**how)
        self.file, self.level = file, level

    def runtest(self) -> None:
        run(self.file, None, self.level)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.file, None, self.name


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    for file in map(Path, config.getoption("--synthbench-baseline")):
        name = f"synthbench check {file.with_suffix('')}"  # pytest takes a dot for a separator
        level = config.getoption("--synthbench-level")
        items.append(Baseline.from_parent(session, name=name, file=file, level=level))
