"""Runs the program as a separate process, which tests watch from outside, or within the process of the test."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import synthbench
from synthbench.common.errors import BadInput
from synthbench.execution import worker
from synthbench.experiment.runs import Result
from synthbench.interface import outcome
from synthbench.store.results import Store
from tests import tiny
from tests.calling import APP, Completed

ROOT = Path(synthbench.__file__).parents[1]
GATE_FOLDER = Path(__file__).with_name("gate")
TIMEOUT = 120.0  # seconds, for what should take a few
Results = Mapping[str, Result]


def invoke(command: str, *arguments: str) -> Completed:
    """Calls the command line in this process, with one thread, as a worker has."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    with (
        patch.object(sys, "argv", ["synthbench", *command.split(), *arguments]),
        patch.object(outcome, "app", APP),
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        code = outcome.outcome()
    return Completed(code, out.getvalue(), err.getvalue())


@contextmanager
def interrupted(signal_number: int, fleet_number: int) -> Iterator[None]:
    """Sends this process a signal as it begins to train its fleet of this number, counted from 1."""
    fleets, real = count(1), worker.run_fleet

    def train(*arguments: Any) -> Any:
        if next(fleets) == fleet_number:
            os.kill(os.getpid(), signal_number)
        return real(*arguments)

    with patch.object(worker, "run_fleet", train):
        yield


def command(card: Path | str, out: Path, *options: str, settings: tuple[str, ...] = ()) -> list[str]:
    overrides = [argument for setting in settings for argument in ("--set", setting)]
    return [sys.executable, "-m", "synthbench", "run", str(card), "--out", str(out), *overrides, *options]


@contextmanager
def started(
    card: Path | str,
    out: Path,
    *options: str,
    settings: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Starts the program in a new session, as a terminal does, and kills it and its children on exit.

    limit: address space of each process, KiB.
    """
    limited = ["bash", "-c", f'ulimit -v {limit}; exec "$@"', "bash"] if limit else []
    with subprocess.Popen(
        limited + command(card, out, *options, settings=settings),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            for pid in (*descendants(process.pid), process.pid):
                kill(pid)
            process.communicate()


def wait_for_exit(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Waits until a process exits with this code; returns standard output and standard error."""
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, err
    return out, err


def count_trained(err: str) -> int:
    """The number of runs that a process trained, from the last line that it printed."""
    return int(re.findall(r"^(\d+) runs, \d+ run-steps in", err, re.MULTILINE)[-1])


def results(out: Path) -> dict[str, Result]:
    with closing(Store.read(out)) as store:
        return store.results()


@dataclass(frozen=True)
class Gate:
    """Stops workers before they finetune, while a file exists; `env` is the environment of the programs that it stops.

    The content of the database is then the same at every repetition.
    """

    file: Path

    @property
    def env(self) -> dict[str, str]:
        return {"GATE": str(self.file), "PYTHONPATH": f"{GATE_FOLDER}{os.pathsep}{ROOT}"}

    @property
    def reached(self) -> Path:
        """The file that exists once a worker has stopped."""
        return self.file.with_suffix(".reached")

    def close(self) -> None:
        self.file.touch()
        self.reached.unlink(missing_ok=True)

    def open(self) -> None:
        self.file.unlink()

    def wait(self, process: subprocess.Popen[str]) -> None:
        wait_until(lambda: self.reached.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()


def quick_card(folder: Path) -> Path:
    """The tiny card with fewer steps and one seed: three runs."""
    card = tiny.write(folder)
    for key, value in {"seeds": "1", "steps": "4", "points": "1"}.items():
        card.write_text(re.sub(rf"(?m)^{key} = .*", f"{key} = {value}", card.read_text()))
    return card


def retains(current: Results, earlier: Results) -> bool:
    """Whether finished runs are still present, unchanged and not retrained."""
    kept = {run: current[run] for run in earlier if run in current}
    return numbers(kept) == numbers(earlier) and all(kept[run].started == earlier[run].started for run in earlier)


def numbers(results_by_run: Results) -> dict[str, tuple[str, Mapping[str, float], Mapping[int, Mapping[str, float]]]]:
    """The parts of results that must not depend on how they were computed."""
    return {run: (result.status, result.scores, result.path) for run, result in results_by_run.items()}


def wait_until(condition: Callable[[], bool], timeout: float = TIMEOUT) -> float:
    """Waits for a condition; returns the seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout, "timed out"
        time.sleep(0.01)
    return time.monotonic() - start


def has_results(out: Path, count: int) -> Callable[[], bool]:
    def condition() -> bool:
        try:
            return len(results(out)) >= count
        except BadInput:  # no database yet
            return False

    return condition


def kill(pid: int) -> None:
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


def read_proc(pid: int, name: str) -> bytes:
    """The content of a file of /proc about a process; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def status(pid: int) -> list[str]:
    """State, parent and further fields of a process."""
    return read_proc(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    return status(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in pids if status(child)[1:2] == [str(pid)]]


def workers(pid: int) -> list[int]:
    """The processes that train: forked by the server of workers, which is a child, as is multiprocessing's tracker."""
    servers = [child for child in children(pid) if b"forkserver" in read_proc(child, "cmdline")]
    return [worker for server in servers for worker in children(server)]


def descendants(pid: int) -> list[int]:
    """Its children, and the processes that train."""
    return [*children(pid), *workers(pid)]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, 0 if it is gone."""
    fields = status(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
