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

from synthbench.store.results import Store
from tests.reliability import program
from tests.reliability.program import Gate, children, ended, is_running, say, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(program.ROOT)}
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Two interrupts that are both there before the process can act on the first.
TWICE = [signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT]
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

    @property
    def words(self) -> list[str]:
        return ["run", str(self.card), "--out", str(self.out), *ONE]

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
@pytest.mark.parametrize(("numbers", "bound"), [*(([one], 4.0) for one in ENDING), (TWICE, 1.5)])
def test_signals_to_the_main_process_end_it_soon(
    bench: Bench, numbers: list[signal.Signals], bound: float, measured: Callable[[str, float, float], None]
) -> None:
    with bench.held() as process:
        left = children(process.pid)
        for number in numbers:
            os.kill(process.pid, number)
        took = until(lambda: process.poll() is not None)
        measured(f"{len(numbers)} signals, {numbers[0].name} first, end the program", took, bound)
        measured("its workers end", took + until(lambda: not any(map(is_running, left))), 4.0)
        ended(process, 130)


@pytest.mark.parametrize("number", ENDING)
def test_every_signal_ends_it_and_the_same_command_goes_on(bench: Bench, number: signal.Signals) -> None:
    with program.interrupted(number, at=2):
        code, told, err = say(*bench.words)
    assert (code, told) == (130, "")
    assert "2 of 3 runs" in err
    known = program.results(bench.out)
    assert len(known) == 2
    assert say(*bench.words).code == 0
    assert program.keeps(program.results(bench.out), known)
    assert len(program.results(bench.out)) == 3


def test_a_second_interrupt_ends_it_without_more_ado_and_nothing_finished_is_lost(bench: Bench) -> None:
    with bench.held() as process:
        left = children(process.pid)
        for number in TWICE:
            os.kill(process.pid, number)
        _, err = ended(process, 130)
        until(lambda: not any(map(is_running, left)))
    assert "Traceback" not in err
    known = program.results(bench.out)
    assert len(known) == 1
    assert say(*bench.words).code == 0
    assert program.keeps(program.results(bench.out), known)


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
    with shell(f"trap '' HUP INT; exec SYNTHBENCH {shlex.join(bench.words)} >&- 2>&-", bench.card.parent) as process:
        bench.gate.wait(process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        bench.gate.open()
        ended(process)
    assert len(program.results(bench.out)) == 3


def test_a_run_whose_reader_is_gone_finishes_its_work_and_other_commands_end_quietly(bench: Bench) -> None:
    bench.gate.open()
    with shell(f"SYNTHBENCH {shlex.join(bench.words)} 2>&1 | true", bench.card.parent) as process:
        assert ended(process) == ("", "")
    assert len(program.results(bench.out)) == 3
    line = f"SYNTHBENCH report --out {shlex.quote(str(bench.out))} | true; echo ${{PIPESTATUS[0]}}"
    with shell(line, bench.card.parent) as process:
        assert ended(process) == ("141\n", "")


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
