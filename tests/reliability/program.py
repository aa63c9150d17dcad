"""The program as people start it, watched from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import synthbench
from synthbench.errors import BadInput
from synthbench.experiment.runs import Result
from synthbench.experiment.store import Store

ROOT = Path(synthbench.__file__).parents[1]
PATIENCE = 120.0  # seconds that a slow machine may take for what should take a few
Results = Mapping[str, Result]


def command(card: Path | str, out: Path, *options: str, settings: tuple[str, ...] = ()) -> list[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    return [sys.executable, "-m", "synthbench", "run", str(card), "--out", str(out), *sets, *options]


def start(
    card: Path | str,
    out: Path,
    *options: str,
    settings: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> subprocess.Popen[str]:
    """The program in a session of its own, as a terminal would start it. limit: of address space, KiB a process."""
    limited = ["bash", "-c", f'ulimit -v {limit}; exec "$@"', "bash"] if limit else []
    return subprocess.Popen(
        limited + command(card, out, *options, settings=settings),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )  # fmt: skip


@contextmanager
def started(*args: Any, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same, with nothing of it left behind whatever happens."""
    with start(*args, **options) as process:
        try:
            yield process
        finally:
            for pid in (*children(process.pid), process.pid):
                kill(pid)
            process.communicate()


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What it said, once it has ended with this exit code."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    return out, err


def trained(err: str) -> int:
    """How many runs a process trained, by its last line."""
    return int(re.findall(r"^(\d+) runs, \d+ run-steps in", err, re.MULTILINE)[-1])


def results(out: Path) -> dict[str, Result]:
    with closing(Store.read(out)) as store:
        return store.results()


def claimed(out: Path) -> list[str]:
    """The runs that are being trained."""
    try:
        with closing(Store.read(out)) as store:
            return [run for (run,) in store.database.rows("SELECT run FROM claims")]
    except BadInput:  # not there yet
        return []


def numbers(found: Results) -> dict[str, tuple[str, Mapping[str, float], Mapping[int, Mapping[str, float]]]]:
    """All of results that must not depend on how they were made."""
    return {run: (result.status, result.scores, result.path) for run, result in found.items()}


def until(happened: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Waits for something to happen; returns how long it took."""
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < patience, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def has_results(out: Path, count: int) -> Callable[[], bool]:
    def happened() -> bool:
        try:
            return len(results(out)) >= count
        except BadInput:  # not there yet
            return False

    return happened


def kill(pid: int) -> None:
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


def status(pid: int) -> list[str]:
    """State, parent and more of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_running(pid: int) -> bool:
    return status(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in found if status(child)[1:2] == [str(pid)]]


def workers(pid: int) -> list[int]:
    """Those children that train (multiprocessing keeps one more process for itself)."""
    return [child for child in children(pid) if b"spawn_main" in command_line(child)]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, 0 if it is gone."""
    fields = status(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
