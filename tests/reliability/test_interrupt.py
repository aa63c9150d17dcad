"""Interrupts end the program soon and in order; closed streams cause no message."""

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
from tests.reliability.program import Gate, descendants, invoke, is_running, wait_for_exit, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(program.ROOT)}
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Two interrupts, both pending before the process can handle the first.
TWO_INTERRUPTS = [signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT]
OPTIONS = ("--jobs", "1", "--fleet-size", "1")
# Starts a program in a pseudo-terminal, reads its output until a file exists, then closes the terminal.
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
    """A card with three runs, and a gate before the last two."""

    card: Path
    out: Path
    gate: Gate

    @property
    def arguments(self) -> list[str]:
        return ["run", str(self.card), "--out", str(self.out), *OPTIONS]

    @contextmanager
    def held(self) -> Iterator[subprocess.Popen[str]]:
        """The program after pretraining, with a run at a worker."""
        with program.started(self.card, self.out, *OPTIONS, env=self.gate.env) as process:
            self.gate.wait(process)
            yield process

    def is_stored(self) -> bool:
        """Whether pretraining is stored, one run is marked as interrupted, and no file of an owner remains."""
        with closing(Store.read(self.out)) as store:
            interrupted = len(store.interrupted(store.experiments()[0].id))
        return (len(program.results(self.out)), interrupted) == (1, 1) and not list((self.out / "owners").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    gate = Gate(tmp_path / "gate")
    gate.close()
    return Bench(program.quick_card(tmp_path), tmp_path / "out", gate)


def test_ctrl_c_keeps_finished_runs(bench: Bench) -> None:
    """A terminal sends the signal to workers, too."""
    with bench.held() as process:
        workers = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, err = wait_for_exit(process, 130)
        wait_until(lambda: not any(map(is_running, workers)))
    assert "1 of 3 runs" in err
    assert "Traceback" not in err
    assert bench.is_stored()


@pytest.mark.timed
@pytest.mark.parametrize(("signals", "limit"), [*(([sent], 4.0) for sent in SIGNALS), (TWO_INTERRUPTS, 1.5)])
def test_signals_to_the_main_process_end_it_soon(
    bench: Bench, signals: list[signal.Signals], limit: float, measured: Callable[[str, float, float], None]
) -> None:
    with bench.held() as process:
        workers = descendants(process.pid)
        for signal_number in signals:
            os.kill(process.pid, signal_number)
        seconds = wait_until(lambda: process.poll() is not None)
        measured(f"{len(signals)} signals, {signals[0].name} first, end the program", seconds, limit)
        measured("its workers end", seconds + wait_until(lambda: not any(map(is_running, workers))), 4.0)
        wait_for_exit(process, 130)


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_ends_the_program_and_the_same_command_resumes(bench: Bench, number: signal.Signals) -> None:
    with program.interrupted(number, fleet_number=2):
        code, printed, err = invoke(*bench.arguments)
    assert (code, printed) == (130, "")
    assert "2 of 3 runs" in err
    finished = program.results(bench.out)
    assert len(finished) == 2
    assert invoke(*bench.arguments).code == 0
    assert program.retains(program.results(bench.out), finished)
    assert len(program.results(bench.out)) == 3


def test_a_second_interrupt_ends_the_program_at_once_and_loses_no_finished_run(bench: Bench) -> None:
    with bench.held() as process:
        workers = descendants(process.pid)
        for signal_number in TWO_INTERRUPTS:
            os.kill(process.pid, signal_number)
        _, err = wait_for_exit(process, 130)
        wait_until(lambda: not any(map(is_running, workers)))
    assert "Traceback" not in err
    finished = program.results(bench.out)
    assert len(finished) == 1
    assert invoke(*bench.arguments).code == 0
    assert program.retains(program.results(bench.out), finished)


@pytest.mark.timed  # on a busy machine Python may not have started by the first of these moments
def test_an_interrupt_before_training_is_quiet(
    bench: Bench, tmp_path: Path, measured: Callable[[str, float, float], None]
) -> None:
    for moment in (0.15, 0.3, 0.5, 0.8):
        with program.started(bench.card, tmp_path / str(moment), *OPTIONS, env=bench.gate.env) as process:
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            seconds = wait_until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
            out, err = process.communicate()
        assert process.returncode in (130, -signal.SIGINT)  # the second before Python handles signals
        assert out == ""
        assert "Traceback" not in err
        measured(f"an interrupt after {moment} s", seconds, 4.0)


def shell(line: str, folder: Path) -> subprocess.Popen[str]:
    """Runs a line of bash in which SYNTHBENCH stands for the program."""
    return subprocess.Popen(
        ["bash", "-c", line.replace("SYNTHBENCH", f"{sys.executable} -m synthbench")], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT | Gate(folder / "gate").env,
    )  # fmt: skip


def test_ignored_signals_stay_ignored_and_closed_streams_do_no_harm(bench: Bench) -> None:
    """As with `nohup`, or in a background job of a shell."""
    with shell(
        f"trap '' HUP INT; exec SYNTHBENCH {shlex.join(bench.arguments)} >&- 2>&-", bench.card.parent
    ) as process:
        bench.gate.wait(process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        bench.gate.open()
        wait_for_exit(process)
    assert len(program.results(bench.out)) == 3


def test_after_its_pipe_is_closed_a_run_finishes_and_other_commands_end_quietly(bench: Bench) -> None:
    bench.gate.open()
    with shell(f"SYNTHBENCH {shlex.join(bench.arguments)} 2>&1 | true", bench.card.parent) as process:
        assert wait_for_exit(process) == ("", "")
    assert len(program.results(bench.out)) == 3
    line = f"SYNTHBENCH report --out {shlex.quote(str(bench.out))} | true; echo ${{PIPESTATUS[0]}}"
    with shell(line, bench.card.parent) as process:
        assert wait_for_exit(process) == ("141\n", "")


def test_a_closed_terminal_ends_the_program_in_order(bench: Bench) -> None:
    command = program.command(bench.card, bench.out, *OPTIONS)
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, str(bench.gate.reached), *command], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=bench.card.parent, env=ENVIRONMENT | bench.gate.env,
    ) as terminal:  # fmt: skip
        pid, code = wait_for_exit(terminal)[0].split()
    assert code == "130"
    assert not is_running(int(pid))
    assert bench.is_stored()


def test_an_interrupt_is_handled_while_another_process_locks_the_database(bench: Bench) -> None:
    """SQLite waits in C, where Python handles no signal."""
    with (
        closing(Store.create(bench.out)) as store,
        store.writing(),
        program.started(bench.card, bench.out, *OPTIONS) as process,
    ):
        wait_until(lambda: any((bench.out / "owners").glob("[!.]*")))
        process.send_signal(signal.SIGINT)
        wait_for_exit(process, 130)
