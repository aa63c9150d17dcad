"""Two at once, and five, share the work; what a dead or silent owner claimed is taken over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from synthbench.experiment import claims
from synthbench.experiment.claims import Claims, is_locked
from synthbench.experiment.runs import Run
from synthbench.experiment.store import Store
from tests.experiment.test_run_identity import RUN
from tests.reliability import program, together

RUNS = [replace(RUN, seed=seed) for seed in range(4)]


def every(free: list[Run]) -> list[Run]:
    return free


@pytest.mark.slow
def test_many_processes_on_one_folder_all_finish_and_train_nothing_twice(tmp_path: Path) -> None:
    assert not together.campaign(tmp_path, 2).broken


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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.create(tmp_path)) as found:
        yield found


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """The same folder, as another process has it open."""
    with closing(Store.create(tmp_path)) as found:
        yield found


def test_what_one_owner_claims_another_cannot(store: Store, other: Store) -> None:
    one, two = Claims(store), Claims(other)
    with closing(one), closing(two):
        first = one.take(RUNS, lambda free: free[:2])
        assert two.take(RUNS, every) == RUNS[2:]
        assert one.take(RUNS, every) == first
        one.release([first[0].id])
        assert two.take(RUNS, every) == [first[0], *RUNS[2:]]


def test_an_owner_is_locked_while_it_lives_and_leaves_nothing_behind(store: Store) -> None:
    one = Claims(store)
    (file,) = (store.folder / "owners").iterdir()
    assert is_locked(file)
    one.take(RUNS, every)
    one.close()
    assert not list((store.folder / "owners").iterdir())
    assert store.database.rows("SELECT * FROM claims") == []


def test_a_dead_owners_claims_are_taken_over_at_once(store: Store, other: Store) -> None:
    """The kernel lets go of a lock when its process ends, however it ends."""
    one = Claims(store)
    one.take(RUNS, every)
    os.close(one._file)
    with closing(Claims(other)) as two:
        assert two.take(RUNS, every) == RUNS


def test_a_silent_owners_claims_are_taken_over_after_a_while_whatever_the_clock_says(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(claims.time, "time", lambda: pytest.fail("the wall clock was asked"))
    with closing(Claims(store)) as one, closing(Claims(other)) as two:
        one.take(RUNS, every)
        assert two.take(RUNS, every) == []
        for _ in range(20):  # it beats: it keeps its claims, however long
            now[0] += claims.SILENCE / 2
            one.beat()
            assert two.take(RUNS, every) == []
        now[0] += claims.SILENCE - 1
        assert two.take(RUNS, every) == []
        now[0] += 2
        assert two.take(RUNS, every) == RUNS


def test_claims_of_a_silent_owner_from_different_moments_are_all_taken_over(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    with closing(Claims(store)) as one, closing(Claims(other)) as two:
        one.take(RUNS[:2], every)
        now[0] += claims.BEAT + 1
        one.beat()
        one.take(RUNS[2:], every)
        assert two.take(RUNS, every) == []
        for _ in range(10):  # it looks on and on, as an engine does
            now[0] += claims.SILENCE / 8
            taken = two.take(RUNS, every)
        assert taken == RUNS


def test_an_owner_whose_file_cannot_be_opened_counts_as_living(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with closing(Claims(store)) as one, closing(Claims(other)) as two:
        one.take(RUNS, every)
        monkeypatch.setattr(claims.os, "open", refuse)
        assert two.take(RUNS, every) == []
        monkeypatch.undo()
