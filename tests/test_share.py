"""Shares of the slow tests: touched tests always run, every other test runs in exactly one share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests import share


def items(*names: str) -> list[Any]:
    return [SimpleNamespace(nodeid=f"{name}::test_{i}", path=share.ROOT / name) for name in names for i in range(20)]


def test_every_test_runs_in_one_share_unless_it_is_touched() -> None:
    slow = items("tests/gate/test_traces.py", "tests/reliability/test_killed.py")
    names = [item.nodeid for index in range(4) for item in share.select(slow, set(), 4, index)["in this share"]]
    assert sorted(names) == sorted(item.nodeid for item in slow)
    for index in range(4):
        groups = share.select(slow, {"synthbench/gate/check.py"}, 4, index)
        assert groups["touched"] == slow[:20]
        assert not set(map(id, groups["in this share"])) & set(map(id, groups["in other shares"]))


def test_a_test_is_touched_by_its_file_helpers_and_covered_code() -> None:
    killed = Path("tests/reliability/test_killed.py")
    for name in (killed.as_posix(), "tests/reliability/program.py", "synthbench/execution/scheduler.py"):
        assert share.is_touched({"README.md", name}, killed)
    for name in ("tests/reliability/test_disk.py", "synthbench/reporting/table.py", "README.md"):
        assert not share.is_touched({name}, killed)
    assert share.is_touched({"tests/test_python.py"}, Path("tests/test_python.py"))
    assert not share.is_touched({"tests/test_docs.py"}, Path("tests/test_python.py"))
