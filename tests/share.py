"""A plug-in for pytest: of the slow tests those that a change touches, and a rotating share of the others.

    python -m pytest -p tests.share -m slow --share 4 --minutes 5

The share is drawn by the hash of the commit, so that different commits run different quarters. What is touched comes first.
After so many minutes no further test begins. The log names what ran, what was left to other shares, and what time left out.
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
# Folders of the package that the slow tests of a folder are about, besides the one of the same name.
ABOUT = {
    "reliability": ("execution", "store"),
    "benchmarks": ("trainer", "generators", "scores"),
    "verification": ("trainer", "plugins"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", type=int, default=4, help="run one of so many parts of the slow tests that nothing touches"
    )
    parser.addoption("--minutes", type=float, default=float("inf"), help="begin no test after so many minutes")


def git(*words: str) -> str:
    """What git says; nothing where it cannot."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def base() -> str:
    """The commit that a change began at: where it left the main branch, or else the one before; "" where none is known."""
    head = git("rev-parse", "HEAD")
    fork = git("merge-base", "HEAD", "origin/main")
    return fork if fork and fork != head else git("rev-parse", "--verify", "HEAD~1")


def touched(changed: set[str], path: Path) -> bool:
    """Whether files that changed are what a test file is about: itself, its folder's helpers, or code of that name."""
    own, folder = path.as_posix(), path.parent.name
    if folder == "tests":
        return own in changed
    rooms = (f"{path.parent.as_posix()}/", *(f"synthbench/{name}/" for name in (folder, *ABOUT.get(folder, ()))))
    return any(name == own or (name.startswith(rooms) and "/test_" not in name) for name in changed)


def chosen(items: list[pytest.Item], changed: set[str], parts: int, part: int) -> dict[str, list[pytest.Item]]:
    """The tests by why they run or do not: `touched`, `of this share`, `left to other shares`."""
    found: dict[str, list[pytest.Item]] = {"touched": [], "of this share": [], "left to other shares": []}
    for item in items:
        if touched(changed, item.path.relative_to(ROOT)):
            found["touched"].append(item)
        else:
            is_due = crc32(item.nodeid.encode()) % parts == part
            found["of this share" if is_due else "left to other shares"].append(item)
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    parts, since = config.getoption("--share"), base()
    part = int(git("rev-parse", "HEAD")[:8] or "0", 16) % parts
    found = chosen(items, set(git("diff", "--name-only", since).splitlines()) if since else set(), parts, part)
    items[:] = found["touched"] + found["of this share"]
    config.hook.pytest_deselected(items=found["left to other shares"])
    config.stash[LINES] = [
        f"slow tests: share {part + 1} of {parts}; changes since {since[:12] or 'an unknown commit: none known'}",
        *(f"  {why}: {named(item.nodeid for item in tests)}" for why, tests in found.items()),
    ]


def named(tests: Iterable[str]) -> str:
    """Files with the number of their tests."""
    files = Counter(test.partition("::")[0] for test in tests)
    return ", ".join(f"{file} ({count})" for file, count in files.items()) or "none"


LINES = pytest.StashKey[list[str]]()
LATE = pytest.StashKey[list[str]]()  # tests that time left out
START = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[START], config.stash[LATE] = time.monotonic(), []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(LINES, [])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() - item.config.stash[START] > 60 * item.config.getoption("--minutes"):
        item.config.stash[LATE].append(item.nodeid)
        pytest.skip("left out: the minutes are over")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.line(f"slow tests that time left out: {named(config.stash[LATE])}")
