"""The program as people start it, watched from outside, and as it answers in this process."""

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
from typing import Any, NamedTuple
from unittest.mock import patch

import synthbench
from synthbench.common.errors import BadInput
from synthbench.execution import worker
from synthbench.experiment.runs import Result
from synthbench.interface import outcome
from synthbench.store.results import Store
from tests import tiny
from tests.calling import APP

ROOT = Path(synthbench.__file__).parents[1]
HOLDING = Path(__file__).with_name("gate")
PATIENCE = 120.0  # seconds that a slow machine may take for what should take a few
Results = Mapping[str, Result]


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def is_plain(self) -> bool:
        """Whether a failure was told in one to three lines that a person can act on."""
        return 1 <= len(self.err.strip().splitlines()) <= 3 and not re.search("Traceback|Something broke", self.err)


def say(command: str, *words: str) -> Said:
    """What the command line says, called in this process: with one thread where it trains here, as a worker has."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    with (
        patch.object(sys, "argv", ["synthbench", *command.split(), *words]),
        patch.object(outcome, "app", APP),
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        code = outcome.outcome()
    return Said(code, out.getvalue(), err.getvalue())


@contextmanager
def interrupted(number: int, at: int) -> Iterator[None]:
    """Within, this process is sent a signal as it begins to train its fleet of this number, from 1."""
    fleets, real = count(1), worker.run_fleet

    def train(*given: Any) -> Any:
        if next(fleets) == at:
            os.kill(os.getpid(), number)
        return real(*given)

    with patch.object(worker, "run_fleet", train):
        yield


def command(card: Path | str, out: Path, *options: str, settings: tuple[str, ...] = ()) -> list[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    return [sys.executable, "-m", "synthbench", "run", str(card), "--out", str(out), *sets, *options]


@contextmanager
def started(
    card: Path | str,
    out: Path,
    *options: str,
    settings: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The program in a session of its own, as a terminal would start it; nothing of it is left behind whatever happens.
    limit: of address space, KiB a process."""
    limited = ["bash", "-c", f'ulimit -v {limit}; exec "$@"', "bash"] if limit else []
    with subprocess.Popen(
        limited + command(card, out, *options, settings=settings),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    ) as process:  # fmt: skip
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


@dataclass(frozen=True)
class Gate:
    """Holds workers of the programs that are started with its environment, once they are given a run to finetune.

    What the database holds then is the same whenever it happens.
    """

    file: Path

    @property
    def env(self) -> dict[str, str]:
        return {"GATE": str(self.file), "PYTHONPATH": f"{HOLDING}{os.pathsep}{ROOT}"}

    @property
    def reached(self) -> Path:
        """A file that is there once a worker is held."""
        return self.file.with_suffix(".reached")

    def close(self) -> None:
        self.file.touch()
        self.reached.unlink(missing_ok=True)

    def open(self) -> None:
        self.file.unlink()

    def wait(self, process: subprocess.Popen[str]) -> None:
        until(lambda: self.reached.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()


def quick_card(folder: Path) -> Path:
    """The tiny card with smaller steps: of one seed, three runs."""
    card = tiny.write(folder)
    for key, value in {"seeds": "1", "steps": "4", "points": "1"}.items():
        card.write_text(re.sub(rf"(?m)^{key} = .*", f"{key} = {value}", card.read_text()))
    return card


def keeps(found: Results, known: Results) -> bool:
    """Whether finished runs are still there as they were, not trained again."""
    here = {run: found[run] for run in known if run in found}
    return numbers(here) == numbers(known) and all(here[run].started == known[run].started for run in known)


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


def known(pid: int, name: str) -> bytes:
    """What the kernel says of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def status(pid: int) -> list[str]:
    """State, parent and more."""
    return known(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    return status(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in found if status(child)[1:2] == [str(pid)]]


def workers(pid: int) -> list[int]:
    """Those children that train (multiprocessing keeps one more process for itself)."""
    return [child for child in children(pid) if b"spawn_main" in known(child, "cmdline")]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, 0 if it is gone."""
    fields = status(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
