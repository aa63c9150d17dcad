"""Two at once, and five, share the work; what a dead or silent owner claimed is taken over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from synthbench.store import leases
from synthbench.store.leases import Leases, is_locked
from synthbench.store.results import Store
from tests.experiment.test_run_identity import RUN
from tests.reliability import company, killed, program

RUNS = [replace(RUN, seed=seed) for seed in range(4)]


@pytest.mark.slow
def test_many_processes_on_one_folder_all_finish_and_train_nothing_twice(tmp_path: Path) -> None:
    assert not killed.together(tmp_path, 2).broken


@pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
def test_two_processes_on_one_folder_share_the_work_and_end_alike(tmp_path: Path) -> None:
    """The first is held at its second run; the second trains the last one, and waits for it."""
    card, out, gate = program.quick_card(tmp_path), tmp_path / "out", program.Gate(tmp_path / "gate")
    options = ("--jobs", "1", "--fleet-size", "1")
    gate.close()
    with program.started(card, out, *options, env=gate.env) as one:
        gate.wait(one)
        with program.started(card, out, *options) as two:
            program.until(lambda: len(program.results(out)) == 2)
            gate.open()
            ends = [program.ended(process) for process in (one, two)]
    assert [program.trained(err) for _, err in ends] == [2, 1]
    assert ends[0][0] == ends[1][0] != ""
    assert program.say("run", str(card), "--out", str(tmp_path / "alone"), *options).code == 0
    assert program.numbers(program.results(out)) == program.numbers(program.results(tmp_path / "alone"))


@pytest.mark.timed
@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) != company.WORKERS, reason="as many cores as workers"
)
def test_a_busy_competitor_costs_no_more_than_the_share_of_the_processors_that_it_takes(tmp_path: Path) -> None:
    """In one of three campaigns: what else shares the machine's caches slows the workers, too."""
    assert any(not company.campaign(tmp_path, 3).broken for _ in range(3))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Leases, Leases]]:
    """Of two processes on one folder."""
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(Store.create(tmp_path))) for _ in range(2)]
        one, two = (stack.enter_context(closing(Leases(store))) for store in stores)
        yield one, two


def test_what_one_owner_leases_another_cannot(pair: tuple[Leases, Leases]) -> None:
    one, two = pair
    first = one.take(RUNS, lambda free: free[:2])
    assert two.take(RUNS, list) == RUNS[2:]
    assert one.take(RUNS, list) == first
    one.release([first[0].id])
    assert two.take(RUNS, list) == [first[0], *RUNS[2:]]


def test_an_owner_is_locked_while_it_lives_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(Store.create(tmp_path)) as store:
        with closing(Leases(store)) as one:
            (file,) = (tmp_path / "owners").iterdir()
            assert is_locked(file)
            one.take(RUNS, list)
        assert not list((tmp_path / "owners").iterdir())
        assert store.database.rows("SELECT * FROM leases") == []


def test_a_dead_owners_leases_are_taken_over_at_once(pair: tuple[Leases, Leases]) -> None:
    """The kernel lets go of a lock when its process ends, however it ends."""
    dead = Leases(pair[0].store)
    dead.take(RUNS, list)
    os.close(dead._file)
    assert pair[1].take(RUNS, list) == RUNS


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that leases go by."""
    found = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: found[0])
    monkeypatch.setattr(leases.time, "time", lambda: pytest.fail("the wall clock was asked"))
    return found


def test_a_silent_owners_leases_are_taken_over_after_a_while(now: list[float], pair: tuple[Leases, Leases]) -> None:
    one, two = pair
    one.take(RUNS, list)
    assert two.take(RUNS, list) == []
    for _ in range(20):  # it beats: it keeps its leases, however long
        now[0] += leases.SILENCE / 2
        one.beat()
        assert two.take(RUNS, list) == []
    now[0] += leases.SILENCE - 1
    assert two.take(RUNS, list) == []
    now[0] += 2
    assert two.take(RUNS, list) == RUNS


def test_a_silent_owners_leases_of_different_moments_are_too(now: list[float], pair: tuple[Leases, Leases]) -> None:
    one, two = pair
    one.take(RUNS[:2], list)
    now[0] += leases.BEAT + 1
    one.beat()
    one.take(RUNS[2:], list)
    assert two.take(RUNS, list) == []
    for _ in range(10):  # it looks on and on, as an engine does
        now[0] += leases.SILENCE / 8
        taken = two.take(RUNS, list)
    assert taken == RUNS


def test_an_owner_whose_file_cannot_be_opened_counts_as_living(pair: tuple[Leases, Leases]) -> None:
    pair[0].take(RUNS, list)
    with patch.object(leases.os, "open", side_effect=OSError(24, "Too many open files")):
        assert pair[1].take(RUNS, list) == []
