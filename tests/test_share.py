"""CI's share of the slow tests: what a change touches always runs, and every other test runs in exactly one share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests import share


def items(*names: str) -> list[Any]:
    return [SimpleNamespace(nodeid=f"{name}::test_{i}", path=share.ROOT / name) for name in names for i in range(20)]


def test_every_test_runs_in_one_share_unless_it_is_touched() -> None:
    slow = items("tests/gate/test_traces.py", "tests/reliability/test_killed.py")
    ran = [item.nodeid for part in range(4) for item in share.chosen(slow, set(), 4, part)["of this share"]]
    assert sorted(ran) == sorted(item.nodeid for item in slow)
    for part in range(4):
        found = share.chosen(slow, {"synthbench/gate/check.py"}, 4, part)
        assert found["touched"] == slow[:20]
        assert not set(map(id, found["of this share"])) & set(map(id, found["left to other shares"]))


def test_what_touches_a_test() -> None:
    killed = Path("tests/reliability/test_killed.py")
    for name in (killed.as_posix(), "tests/reliability/program.py", "synthbench/execution/scheduler.py"):
        assert share.touched({"README.md", name}, killed)
    for name in ("tests/reliability/test_disk.py", "synthbench/reporting/table.py", "README.md"):
        assert not share.touched({name}, killed)
    assert share.touched({"tests/test_python.py"}, Path("tests/test_python.py"))
    assert not share.touched({"tests/test_docs.py"}, Path("tests/test_python.py"))
