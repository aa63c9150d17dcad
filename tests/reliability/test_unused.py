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
    """Results of two experiments that share their pretraining; the first was retrained with --fresh."""
    root = tmp_path_factory.mktemp("unused")
    command = ("run --jobs 1", str(program.quick_card(root)), "--out", str(root / "out"))
    for options in ((), ("--fresh",), ("--set", "stages.finetune.steps=2")):
        assert program.invoke(*command, *options).code == 0
    return root / "out"


def files(out: Path) -> set[str]:
    """All files, except those that SQLite creates beside a database that is read."""
    paths = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return paths - {"results.db-wal", "results.db-shm"}


def test_only_what_no_experiment_uses_is_listed_and_deleted_with_yes(call: Caller, folder: Path) -> None:
    for name in (".incomplete.new", "orphan.safetensors"):
        (folder / "weights" / name).write_bytes(b"x")
    (folder / "outside.safetensors").write_bytes(b"x")
    first_attempts = "attempt = 1 AND run IN (SELECT run FROM weights WHERE attempt = 2)"
    with closing(sqlite3.connect(folder / "results.db")) as db, db:  # a row names a file elsewhere
        assert db.execute(f"UPDATE weights SET name = '../outside.safetensors' WHERE {first_attempts}").rowcount > 0
    before, results = files(folder), program.results(folder)
    code, out, err = call(f"gc --out {folder}")
    assert (code, err) == (0, "")
    runs = [line for line in out.splitlines() if line.startswith("run ")]
    assert len(runs) == 3  # the attempts that --fresh replaced
    assert all("attempt 1 (ok)" in line for line in runs)
    assert "file weights/.incomplete.new" in out
    assert "file weights/orphan.safetensors" in out
    assert out.splitlines()[-1].endswith(f"gc --yes --out {folder}")
    assert files(folder) == before
    code, out, _ = call(f"gc --yes --out {folder}")
    assert code == 0
    assert "3 runs" in out.splitlines()[-1]
    assert program.results(folder) == results
    weights = {f"weights/{result.weights}" for result in results.values() if result.weights}
    assert files(folder) == {"results.db", "outside.safetensors", *weights}
    with closing(Store.read(folder)) as store:
        assert all(store.valid_weights(result) for result in results.values() if result.weights)
    assert not {"run", "file"} & {line.split()[0] for line in call(f"gc --out {folder}").out.splitlines()}


def test_nothing_is_deleted_while_a_process_runs(call: Caller, tmp_path: Path) -> None:
    with closing(Store.create(tmp_path)) as store, closing(Leases(store)):
        code, out, err = call(f"gc --yes --out {tmp_path}")
    assert (code, out) == (4, "")
    assert str(tmp_path) in err


def test_a_folder_without_results_is_refused_and_not_created(call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"gc --out {tmp_path / 'nothing'}")
    assert code == 2
    assert str(tmp_path / "nothing") in err
    assert not list(tmp_path.iterdir())
