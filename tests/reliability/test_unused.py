"""`synthbench gc` lists and deletes what no experiment uses, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.store.leases import Leases
from synthbench.store.results import Store
from tests.calling import Caller
from tests.reliability import program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two experiments that share their pretraining, of which the first was trained afresh."""
    place = tmp_path_factory.mktemp("unused")
    command = ("run --jobs 1", str(program.quick_card(place)), "--out", str(place / "out"))
    for options in ((), ("--fresh",), ("--set", "stages.finetune.steps=2")):
        assert program.say(*command, *options).code == 0
    return place / "out"


def files(out: Path) -> set[str]:
    """All but what SQLite makes beside a database that is looked at."""
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return found - {"results.db-wal", "results.db-shm"}


def test_only_what_no_experiment_uses_is_listed_and_with_yes_deleted(call: Caller, folder: Path) -> None:
    for name in (".torn.new", "orphan.safetensors"):
        (folder / "weights" / name).write_bytes(b"x")
    (folder / "outside.safetensors").write_bytes(b"x")
    old = "attempt = 1 AND run IN (SELECT run FROM weights WHERE attempt = 2)"
    with closing(sqlite3.connect(folder / "results.db")) as db, db:  # a row names a file elsewhere
        assert db.execute(f"UPDATE weights SET name = '../outside.safetensors' WHERE {old}").rowcount > 0
    before, kept = files(folder), program.results(folder)
    code, out, err = call(f"gc --out {folder}")
    assert (code, err) == (0, "")
    first = [line for line in out.splitlines() if line.startswith("run ")]
    assert len(first) == 3  # the attempts that --fresh replaced
    assert all("attempt 1 (ok)" in line for line in first)
    assert "file weights/.torn.new" in out
    assert "file weights/orphan.safetensors" in out
    assert out.splitlines()[-1].endswith(f"gc --yes --out {folder}")
    assert files(folder) == before
    code, out, _ = call(f"gc --yes --out {folder}")
    assert code == 0
    assert "3 runs" in out.splitlines()[-1]
    assert program.results(folder) == kept
    named = {f"weights/{result.weights}" for result in kept.values() if result.weights}
    assert files(folder) == {"results.db", "outside.safetensors", *named}
    with closing(Store.read(folder)) as store:
        assert all(store.valid_weights(result) for result in kept.values() if result.weights)
    assert not {"run", "file"} & {line.split()[0] for line in call(f"gc --out {folder}").out.splitlines()}


def test_nothing_is_deleted_while_a_process_is_at_work(call: Caller, tmp_path: Path) -> None:
    with closing(Store.create(tmp_path)) as store, closing(Leases(store)):
        code, out, err = call(f"gc --yes --out {tmp_path}")
    assert (code, out) == (4, "")
    assert str(tmp_path) in err


def test_a_folder_without_results_is_refused_and_nothing_is_made(call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"gc --out {tmp_path / 'nothing'}")
    assert code == 2
    assert str(tmp_path / "nothing") in err
    assert not list(tmp_path.iterdir())
