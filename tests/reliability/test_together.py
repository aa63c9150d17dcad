"""Two or five processes share the work in one folder; leases of dead or silent owners are taken over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from synthbench.experiment.runs import Run, RunId
from synthbench.store import leases, locks
from synthbench.store.leases import Leases
from synthbench.store.locks import is_locked
from synthbench.store.results import Store
from tests.experiment.test_run_identity import RUN
from tests.reliability import company, killed, program

RUNS = [replace(RUN, seed=seed) for seed in range(4)]


@pytest.mark.slow
def test_many_processes_in_one_folder_all_finish_and_train_no_run_twice(tmp_path: Path) -> None:
    assert not killed.together(tmp_path, 2).violations


@pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
def test_two_processes_in_one_folder_share_the_work_and_print_the_same_table(tmp_path: Path) -> None:
    """The first process is stopped at its second run; the second trains the last run, then waits for the first."""
    card, out, gate = program.quick_card(tmp_path), tmp_path / "out", program.Gate(tmp_path / "gate")
    options = ("--jobs", "1", "--fleet-size", "1")
    gate.close()
    with program.started(card, out, *options, env=gate.env) as first:
        gate.wait(first)
        with program.started(card, out, *options) as second:
            program.wait_until(lambda: len(program.results(out)) == 2)
            gate.open()
            outputs = [program.wait_for_exit(process) for process in (first, second)]
    assert [program.count_trained(err) for _, err in outputs] == [2, 1]
    assert outputs[0][0] == outputs[1][0] != ""
    assert program.invoke("run", str(card), "--out", str(tmp_path / "alone"), *options).code == 0
    assert program.numbers(program.results(out)) == program.numbers(program.results(tmp_path / "alone"))


@pytest.mark.timed
@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) != company.WORKERS, reason="needs one core per worker"
)
def test_a_busy_process_costs_at_most_its_share_of_processor_time(tmp_path: Path) -> None:
    """One of three campaigns must pass, as other users of the machine's caches slow workers, too."""
    assert any(not company.campaign(tmp_path, 3).violations for _ in range(3))


def free(runs: Sequence[Run]) -> Callable[[set[RunId]], list[Run]]:
    """Picks those runs that nobody else trains."""
    return lambda held: [run for run in runs if run.id not in held]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Leases, Leases]]:
    """The leases of two processes in one folder."""
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(Store.create(tmp_path))) for _ in range(2)]
        first, second = (stack.enter_context(closing(Leases(store))) for store in stores)
        yield first, second


def test_a_run_can_be_leased_by_one_owner_only(pair: tuple[Leases, Leases]) -> None:
    first, second = pair
    leased = first.take(lambda held: RUNS[:2])
    assert second.take(free(RUNS)) == RUNS[2:]
    assert first.take(free(RUNS)) == leased
    first.release([leased[0].id])
    assert second.take(free(RUNS)) == [leased[0], *RUNS[2:]]


def test_the_file_of_an_owner_is_locked_while_it_lives_and_is_then_deleted(tmp_path: Path) -> None:
    with closing(Store.create(tmp_path)) as store:
        with closing(Leases(store)) as owner:
            (file,) = (tmp_path / "owners").iterdir()
            assert is_locked(file)
            owner.take(free(RUNS))
        assert not list((tmp_path / "owners").iterdir())
        assert store.rows("SELECT * FROM leases") == []


def test_leases_of_a_dead_owner_are_taken_over_at_once(pair: tuple[Leases, Leases]) -> None:
    """The kernel releases the locks of a process when it ends in any way."""
    dead = Leases(pair[0].store)
    dead.take(free(RUNS))
    os.close(dead._file)
    assert pair[1].take(free(RUNS)) == RUNS


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the clock that leases use."""
    time = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: time[0])
    monkeypatch.setattr(leases.time, "time", lambda: pytest.fail("the wall clock was read"))
    return time


def test_leases_of_a_silent_owner_are_taken_over_after_a_while(now: list[float], pair: tuple[Leases, Leases]) -> None:
    silent, other = pair
    silent.take(free(RUNS))
    assert other.take(free(RUNS)) == []
    for _ in range(20):  # an owner that beats keeps its leases
        now[0] += leases.SILENCE / 2
        silent.beat()
        assert other.take(free(RUNS)) == []
    now[0] += leases.SILENCE - 1
    assert other.take(free(RUNS)) == []
    now[0] += 2
    assert other.take(free(RUNS)) == RUNS


def test_leases_of_a_silent_owner_from_different_times_are_too(now: list[float], pair: tuple[Leases, Leases]) -> None:
    silent, other = pair
    silent.take(free(RUNS[:2]))
    now[0] += leases.BEAT + 1
    silent.beat()
    silent.take(free(RUNS[2:]))
    assert other.take(free(RUNS)) == []
    for _ in range(10):  # it polls, as the scheduler does
        now[0] += leases.SILENCE / 8
        taken = other.take(free(RUNS))
    assert taken == RUNS


def test_an_owner_whose_file_cannot_be_opened_counts_as_alive(pair: tuple[Leases, Leases]) -> None:
    pair[0].take(free(RUNS))
    with patch.object(locks.os, "open", side_effect=OSError(24, "Too many open files")):
        assert pair[1].take(free(RUNS)) == []
