"""A plug-in for pytest: runs the slow tests that a change touches, and a share of the others.

    python -m pytest -p tests.share -m slow --share 4 --minutes 5

The hash of the commit selects the share, so different commits run different quarters. Touched tests run first. After
`--minutes` no further test starts. The log lists the tests that ran, those of other shares, and those that time left out.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import pytest

ROOT = Path(__file__).resolve().parents[1]
# By folder of tests: the folders of the package that its slow tests cover, besides the one of the same name.
COVERED = {
    "reliability": ("execution", "store"),
    "benchmarks": ("execution", "trainer", "generators", "scores"),
    "verification": ("trainer", "plugins"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", type=int, default=4, help="number of shares of the untouched slow tests, of which one runs"
    )
    parser.addoption("--minutes", type=float, default=float("inf"), help="start no test after this many minutes")


def git(*arguments: str) -> str:
    """The output of git; empty if it fails."""
    completed = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return completed.stdout.strip() if completed.returncode == 0 else ""


def base() -> str:
    """The commit on which a change is based: the fork from main, else the previous commit; "" if neither is known."""
    head = git("rev-parse", "HEAD")
    fork = git("merge-base", "HEAD", "origin/main")
    return fork if fork and fork != head else git("rev-parse", "--verify", "HEAD~1")


def is_touched(changed: set[str], path: Path) -> bool:
    """Whether a change touches a test file: the file itself, helpers in its folder, or the code that it covers."""
    file, folder = path.as_posix(), path.parent.name
    if folder == "tests":
        return file in changed
    covered = (f"{path.parent.as_posix()}/", *(f"synthbench/{name}/" for name in (folder, *COVERED.get(folder, ()))))
    return any(name == file or (name.startswith(covered) and "/test_" not in name) for name in changed)


def select(items: list[pytest.Item], changed: set[str], shares: int, share: int) -> dict[str, list[pytest.Item]]:
    """The tests in three groups: `touched`, `in this share`, `in other shares`."""
    groups: dict[str, list[pytest.Item]] = {"touched": [], "in this share": [], "in other shares": []}
    for item in items:
        if is_touched(changed, item.path.relative_to(ROOT)):
            groups["touched"].append(item)
        else:
            is_due = crc32(item.nodeid.encode()) % shares == share
            groups["in this share" if is_due else "in other shares"].append(item)
    return groups


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shares, base_commit = config.getoption("--share"), base()
    share = int(git("rev-parse", "HEAD")[:8] or "0", 16) % shares
    changed = git("diff", "--name-only", base_commit).splitlines() if base_commit else []
    groups = select(items, set(changed), shares, share)
    items[:] = groups["touched"] + groups["in this share"]
    config.hook.pytest_deselected(items=groups["in other shares"])
    config.stash[HEADER] = [
        f"slow tests: share {share + 1} of {shares}; changes since {base_commit[:12] or 'an unknown commit'}",
        *(f"  {why}: {summary(item.nodeid for item in tests)}" for why, tests in groups.items()),
    ]


def summary(tests: Iterable[str]) -> str:
    """Files, each with the number of its tests."""
    files = Counter(test.partition("::")[0] for test in tests)
    return ", ".join(f"{file} ({count})" for file, count in files.items()) or "none"


HEADER = pytest.StashKey[list[str]]()
NOT_STARTED = pytest.StashKey[list[str]]()  # tests that were skipped for lack of time
START = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[START], config.stash[NOT_STARTED] = time.monotonic(), []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(HEADER, [])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() - item.config.stash[START] > 60 * item.config.getoption("--minutes"):
        item.config.stash[NOT_STARTED].append(item.nodeid)
        pytest.skip("not started: --minutes have passed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.line(f"slow tests not started after --minutes: {summary(config.stash[NOT_STARTED])}")
