"""A folder of format 4 has the same results in the present format; what is damaged there is lost."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.common.errors import BadInput, Failed
from synthbench.reporting import report
from synthbench.store.database import DATABASE
from synthbench.store.leases import Leases
from synthbench.store.results import Store
from synthbench.store.upgrade import format_of
from tests.calling import Caller
from tests.reporting import synthetic_results
from tests.store import format_4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return synthetic_results.write(tmp_path / "new", synthetic_results.equal_scores)


@pytest.fixture
def older(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "older")
    format_4.rewrite(tmp_path / "older")
    return tmp_path / "older"


def test_results_curves_and_readings_are_the_same(folder: Path, older: Path, call: Caller) -> None:
    with closing(Store.read(folder)) as store:
        before = store.results()
    with closing(Store.create(older)) as store:
        results = store.results()
        assert results == before
        last = {run for run, identity in store.identities().items() if identity["stage"] == "finetune"}
        assert {run for run, result in results.items() if result.readings} == last
        assert {result.last_step for result in results.values()} == {0, 10}
        assert not store.damaged
    assert call(f"report --out {older} --format json") == call(f"report --out {folder} --format json")
    with closing(Store.create(older)) as store:  # again: there is nothing to do
        assert store.results() == before


def test_reading_says_how_to_bring_it_up_to_date_and_changes_nothing(older: Path) -> None:
    content = (older / DATABASE).read_bytes()
    with pytest.raises(BadInput, match=r"format 4.*format 5.*synthbench merge"):
        report.of_folder(older)
    assert (older / DATABASE).read_bytes() == content
    assert format_of(older) == 4


def test_a_damaged_run_is_left_out(older: Path) -> None:
    with closing(sqlite3.connect(older / DATABASE)) as db, db:
        db.execute("UPDATE scores SET value = value + 0.5 WHERE sampled = 1 AND run = (SELECT min(id) FROM runs)")
        db.execute("UPDATE runs SET seconds = 7 WHERE id = (SELECT max(id) FROM runs)")
        count = db.execute("SELECT count(*) FROM runs").fetchone()[0]
    with closing(Store.create(older)) as store:
        assert len(store.results()) == count - 2


def test_it_waits_for_a_process_that_is_at_work(older: Path, tmp_path: Path, folder: Path) -> None:
    with closing(Store.create(folder)) as store, closing(Leases(store)):
        shutil.rmtree(older / "owners", ignore_errors=True)
        (older / "owners").symlink_to(folder / "owners")
        with pytest.raises(Failed, match="at work"):
            Store.create(older)
    assert format_of(older) == 4


def test_an_upgrade_that_fails_changes_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.store.upgrade.put_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Store.create(older)
    monkeypatch.undo()
    assert format_of(older) == 4
    with closing(Store.create(older)) as store:
        assert store.results()
