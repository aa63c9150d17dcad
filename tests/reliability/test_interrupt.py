"""Interrupts end the program in order and soon; streams that vanish make no noise."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.experiment.store import Store
from tests.experiment import tiny
from tests.reliability import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
LONG = ("stages.finetune.steps=20000",)  # for minutes: it is interrupted long before
SHORT = ("--seeds", "1", "--jobs", "1")
# Starts a program in a terminal of its own, reads what it shows until it is told to stop, then lets the terminal vanish.
TERMINAL = """
import os, pty, sys
pid, master = pty.fork()
if not pid:
    os.execv(sys.argv[2], sys.argv[2:])
print(pid, flush=True)
shown = b""
while sys.argv[1].encode() not in shown:
    shown += os.read(master, 4096)
os.close(master)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results."""
    folder = tmp_path_factory.mktemp("finished")
    with program.started(tiny.write(folder), folder / "out", *SHORT) as process:
        program.ended(process)
    return folder / "out"


def is_pretrained(out: Path) -> Callable[[], bool]:
    """Whether one run is finished and the next under way."""
    has_one = program.has_results(out, 1)
    return lambda: has_one() and bool(set(program.claimed(out)) - set(program.results(out)))


def interrupted_runs(out: Path) -> int:
    with closing(Store.read(out)) as store:
        return len(store.interrupted(store.experiments()[0].id))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_the_main_process_ends_it_within_two_seconds_with_what_is_finished(
    card: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    with program.started(card, out, *SHORT, settings=LONG) as process:
        program.until(is_pretrained(out))
        workers = program.children(process.pid)
        os.kill(process.pid, number)
        took = program.until(lambda: process.poll() is not None)
        assert took + program.until(lambda: not any(map(program.is_running, workers))) < 2
        _, err = program.ended(process, 130)
    assert "Interrupted: 1 of 3 runs are finished and kept" in err
    assert "Traceback" not in err
    assert len(program.results(out)) == 1
    assert interrupted_runs(out) == 1
    assert not list((out / "owners").iterdir())


def test_a_second_interrupt_ends_it_at_once_and_nothing_finished_is_lost(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with program.started(card, out, *SHORT, settings=LONG) as process:
        program.until(is_pretrained(out))
        workers = program.children(process.pid)
        os.kill(process.pid, signal.SIGSTOP)  # so that both are there before it can act on the first
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGCONT)
        took = program.until(lambda: process.poll() is not None)
        assert took < 0.5
        assert program.until(lambda: not any(map(program.is_running, workers))) < 2
        _, err = program.ended(process, 130)
    assert err.count("\n") <= 1
    assert len(program.results(out)) == 1
    with program.started(card, out, *SHORT) as process:
        program.ended(process)
    assert len(program.results(out)) == 3  # pretraining is shared, finetuning is another card's


@pytest.mark.timed  # beside other tests Python itself may not have begun at the first of these moments
def test_an_interrupt_before_anything_is_trained_is_quiet(card: Path, tmp_path: Path) -> None:
    for number, moment in enumerate((0.15, 0.3, 0.5, 0.8)):
        with program.started(card, tmp_path / str(number), *SHORT, settings=LONG) as process:
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            assert program.until(lambda: process.poll() is not None) < 2
            out, err = process.communicate()
        assert process.returncode in (130, -signal.SIGINT)  # the second before Python itself hears signals
        assert out == ""
        assert err == "" or err.strip().startswith("Interrupted: 0 of 3 runs")


def test_a_signal_that_is_ignored_stays_ignored(card: Path, tmp_path: Path) -> None:
    """`nohup`, and a shell that puts a job into the background."""
    out = tmp_path / "out"
    words = shlex.join(program.command(card, out, *SHORT))
    with subprocess.Popen(
        ["bash", "-c", f"trap '' HUP INT; exec {words}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(program.ROOT)},
    ) as process:  # fmt: skip
        program.until(lambda: len(program.workers(process.pid)) == 1)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        program.ended(process)
    assert len(program.results(out)) == 3


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which SYNTHBENCH is the program."""
    return subprocess.run(
        ["bash", "-c", line.replace("SYNTHBENCH", f"{sys.executable} -m synthbench")], capture_output=True, text=True,
        timeout=program.PATIENCE, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": str(program.ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("command", ["report", "report --format json", "export", "ls score", "show task rote-vs-rule"])
def test_a_closed_pipe_is_quiet(finished: Path, command: str) -> None:
    out = f" --out {finished}" if command.split()[0] in ("report", "export") else ""
    found = shell(f"SYNTHBENCH {command}{out} | true; echo ${{PIPESTATUS[0]}}", finished.parent)
    assert found.stderr == ""
    assert found.stdout == "141\n"
    first = shell(f"SYNTHBENCH {command}{out} | head -1", finished.parent)
    assert first.stderr == ""


@pytest.mark.parametrize("ending", ["2>&1 >/dev/null | true", "2>&-", ">&- 2>&-", "| true"])
def test_a_run_whose_reader_is_gone_finishes_its_work(card: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / "out"
    words = shlex.join(["run", str(card), "--out", str(out), *SHORT])
    found = shell(f"SYNTHBENCH {words} {ending}", tmp_path)
    assert "Traceback" not in found.stdout + found.stderr
    assert "Exception" not in found.stdout + found.stderr
    assert len(program.results(out)) == 3


def test_a_vanished_terminal_ends_it_in_order(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = program.command(card, out, *SHORT, settings=LONG)
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, "pretrain 1/1", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(program.ROOT)},
    ) as terminal:  # fmt: skip
        pid, code = program.ended(terminal)[0].split()
    assert code == "130"
    assert not program.is_running(int(pid))
    assert len(program.results(out)) == 1
    assert interrupted_runs(out) == 1


def test_an_interrupt_is_heard_while_another_process_holds_the_database(card: Path, tmp_path: Path) -> None:
    """SQLite waits in C, where Python hears no signal."""
    out = tmp_path / "out"
    with closing(Store.create(out)) as store, store.database.writing(), program.started(card, out, *SHORT) as process:
        program.until(lambda: (out / "owners").exists())
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert program.until(lambda: process.poll() is not None) < 2
        program.ended(process, 130)
