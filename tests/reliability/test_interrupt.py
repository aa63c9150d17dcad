"""Interrupts end the program in order and soon; streams that vanish make no noise."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from synthbench.experiment.store import Store
from tests.reliability import program
from tests.reliability.program import Gate, children, ended, is_running, say, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(program.ROOT)}
ONE = ("--jobs", "1", "--fleet-size", "1")
# Starts a program in a terminal of its own, reads what it shows until a file is there, then lets the terminal vanish.
TERMINAL = """
import os, pty, select, sys
pid, master = pty.fork()
if not pid:
    os.execv(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]):
    if select.select([master], [], [], 0.05)[0]:
        os.read(master, 4096)
os.close(master)
print(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class Bench(NamedTuple):
    """A card of three runs, and a gate before the last two."""

    card: Path
    out: Path
    gate: Gate

    @contextmanager
    def held(self) -> Iterator[subprocess.Popen[str]]:
        """The program, when pretraining is finished and a run is with a worker."""
        with program.started(self.card, self.out, *ONE, env=self.gate.env) as process:
            self.gate.wait(process)
            yield process

    def is_kept(self) -> bool:
        """Whether pretraining is kept, a run is noted as interrupted, and nothing is left behind."""
        with closing(Store.read(self.out)) as store:
            interrupted = len(store.interrupted(store.experiments()[0].id))
        return (len(program.results(self.out)), interrupted) == (1, 1) and not list((self.out / "owners").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    gate = Gate(tmp_path / "gate")
    gate.close()
    return Bench(program.quick_card(tmp_path), tmp_path / "out", gate)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results."""
    folder = tmp_path_factory.mktemp("finished")
    assert say("run", str(program.quick_card(folder)), "--out", str(folder / "out"), *ONE).code == 0
    return folder / "out"


def test_ctrl_c_ends_it_with_what_is_finished(bench: Bench) -> None:
    """A terminal's reaches the workers, too."""
    with bench.held() as process:
        left = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, err = ended(process, 130)
        until(lambda: not any(map(is_running, left)))
    assert "1 of 3 runs" in err
    assert "Traceback" not in err
    assert bench.is_kept()


@pytest.mark.timed
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_the_main_process_ends_it_soon(
    bench: Bench, number: signal.Signals, measured: Callable[[str, float, float], None]
) -> None:
    with bench.held() as process:
        left = children(process.pid)
        os.kill(process.pid, number)
        took = until(lambda: process.poll() is not None and not any(map(is_running, left)))
        ended(process, 130)
    measured(f"{number.name} ends the program and its workers", took, 4.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_ends_it_with_what_is_finished_and_the_same_command_goes_on(
    bench: Bench, number: signal.Signals
) -> None:
    command = ("run", str(bench.card), "--out", str(bench.out), *ONE)
    with program.interrupted(number, at=2):
        code, told, err = say(*command)
    assert (code, told) == (130, "")
    assert "2 of 3 runs" in err
    known = program.results(bench.out)
    assert len(known) == 2
    assert say(*command).code == 0
    assert program.keeps(program.results(bench.out), known)
    assert len(program.results(bench.out)) == 3


def twice(process: subprocess.Popen[str]) -> None:
    """Sends two interrupts that are both there before the process can act on the first."""
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(process.pid, number)


def test_a_second_interrupt_ends_it_without_more_ado_and_nothing_finished_is_lost(bench: Bench) -> None:
    with bench.held() as process:
        left = children(process.pid)
        twice(process)
        _, err = ended(process, 130)
        until(lambda: not any(map(is_running, left)))
    assert "Traceback" not in err
    known = program.results(bench.out)
    assert len(known) == 1
    assert say("run", str(bench.card), "--out", str(bench.out), *ONE).code == 0
    assert program.keeps(program.results(bench.out), known)


@pytest.mark.timed
def test_a_second_interrupt_ends_it_at_once(bench: Bench, measured: Callable[[str, float, float], None]) -> None:
    with bench.held() as process:
        twice(process)
        measured("a second interrupt ends the program", until(lambda: process.poll() is not None), 1.5)


@pytest.mark.timed  # beside other tests Python itself may not have begun at the first of these moments
def test_an_interrupt_before_anything_is_trained_is_quiet(
    bench: Bench, tmp_path: Path, measured: Callable[[str, float, float], None]
) -> None:
    for moment in (0.15, 0.3, 0.5, 0.8):
        with program.started(bench.card, tmp_path / str(moment), *ONE, env=bench.gate.env) as process:
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            took = until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
            out, err = process.communicate()
        assert process.returncode in (130, -signal.SIGINT)  # the second before Python itself hears signals
        assert out == ""
        assert "Traceback" not in err
        measured(f"an interrupt after {moment} s", took, 4.0)


def shell(line: str, folder: Path) -> subprocess.Popen[str]:
    """A line of bash in which SYNTHBENCH is the program."""
    return subprocess.Popen(
        ["bash", "-c", line.replace("SYNTHBENCH", f"{sys.executable} -m synthbench")], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT | Gate(folder / "gate").env,
    )  # fmt: skip


def test_signals_that_are_ignored_stay_ignored_and_closed_streams_do_no_harm(bench: Bench) -> None:
    """`nohup`, and a shell that puts a job into the background."""
    words = shlex.join(["run", str(bench.card), "--out", str(bench.out), *ONE])
    with shell(f"trap '' HUP INT; exec SYNTHBENCH {words} >&- 2>&-", bench.card.parent) as process:
        bench.gate.wait(process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        bench.gate.open()
        ended(process)
    assert len(program.results(bench.out)) == 3


def test_a_run_whose_reader_is_gone_finishes_its_work(bench: Bench) -> None:
    bench.gate.open()
    words = shlex.join(["run", str(bench.card), "--out", str(bench.out), *ONE])
    with shell(f"SYNTHBENCH {words} 2>&1 | true", bench.card.parent) as process:
        assert ended(process) == ("", "")
    assert len(program.results(bench.out)) == 3


def test_a_closed_pipe_is_quiet(finished: Path) -> None:
    commands = (f"report --out {finished}", "show task rote-vs-rule")
    line = "; ".join(f"SYNTHBENCH {command} | true; echo ${{PIPESTATUS[0]}}" for command in commands)
    with shell(line, finished.parent) as process:
        assert ended(process) == ("141\n141\n", "")


def test_a_vanished_terminal_ends_it_in_order(bench: Bench) -> None:
    command = program.command(bench.card, bench.out, *ONE)
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, str(bench.gate.reached), *command], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=bench.card.parent, env=ENVIRONMENT | bench.gate.env,
    ) as terminal:  # fmt: skip
        pid, code = ended(terminal)[0].split()
    assert code == "130"
    assert not is_running(int(pid))
    assert bench.is_kept()


def test_an_interrupt_is_heard_while_another_process_holds_the_database(bench: Bench) -> None:
    """SQLite waits in C, where Python hears no signal."""
    with (
        closing(Store.create(bench.out)) as store,
        store.database.writing(),
        program.started(bench.card, bench.out, *ONE) as process,
    ):
        until(lambda: any((bench.out / "owners").glob("[!.]*")))
        process.send_signal(signal.SIGINT)
        ended(process, 130)
