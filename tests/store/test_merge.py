"""Folders of results become one: runs by id, conflicts told, weights checked, tables of several machines unpaired."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment.runs import Result, Run
from synthbench.store.database import DATABASE, seal
from synthbench.store.merge import merge
from synthbench.store.results import Store
from synthbench.store.run_rows import put, quick_seal
from tests.calling import Caller
from tests.each import each
from tests.experiment.test_run_identity import RUN
from tests.reporting import synthetic_results
from tests.store import format_4
from tests.store.test_results import CELL


def scored(run: Run) -> dict[str, float]:
    return {"learning": 0.4 + 0.05 * run.seed + 0.2 * (run.optimizer.name == "muon"), "fit": 0.9}


def constant(run: Run) -> dict[str, float]:
    return {"learning": 0.75, "fit": 0.9}


def write(
    folder: Path, seeds: list[int], device: str = "a device", optimizers: tuple[str, ...] = ("adamw", "muon"),
    scores_of: Callable[[Run], dict[str, float]] = scored,
) -> Path:  # fmt: skip
    """Results of some seeds, trained on a device; the cards are the same for every folder."""
    cards = folder.parent / "cards"
    cards.mkdir(exist_ok=True)
    out = synthetic_results.write(
        cards, scores_of, seeds=seeds, optimizers=list(optimizers), device_of=lambda run: device
    )  # fmt: skip
    folder.mkdir()
    for file in out.glob(f"{DATABASE}*"):
        shutil.move(file, folder / file.name)
    return folder


def exported(call: Caller, folder: Path) -> dict[str, dict[str, object]]:
    return {run["run"]: run for run in json.loads(call(f"export --out {folder} --format json").out)}


def test_runs_of_two_folders_stand_in_one_table(tmp_path: Path, call: Caller) -> None:
    a, b, both = write(tmp_path / "a", [0, 1]), write(tmp_path / "b", [1, 2]), tmp_path / "both"
    merged = merge([a, b], both)
    runs = [exported(call, folder) for folder in (a, b, both)]
    assert runs[2].keys() == runs[0].keys() | runs[1].keys()
    assert sum(merged.runs.values()) == len(runs[2])
    assert merged.known == len(runs[0].keys() & runs[1].keys()) > 0
    assert (merged.conflicts, merged.lost) == ([], [])
    again = merge([b, a], both)  # once more changes nothing
    assert sum(again.runs.values()) == 0
    assert exported(call, both).keys() == runs[2].keys()
    whole = write(tmp_path / "whole", [0, 1, 2])
    shown = [json.loads(call(f"report --out {folder} --format json").out)["rows"] for folder in (both, whole)]
    assert shown[0] == shown[1]


def test_report_of_two_folders_is_that_of_the_merged_one(tmp_path: Path, call: Caller) -> None:
    a, b = write(tmp_path / "a", [0, 1]), write(tmp_path / "b", [2])
    merge([a, b], tmp_path / "both")
    code, out, _ = call(f"report {a} {b} --format json")
    assert code == 0
    assert out == call(f"report --out {tmp_path / 'both'} --format json").out
    assert call(f"report tiny-runner {a} {b} --format json").out == out
    assert call(f"report {a} --format json") == call(f"report --out {a} --format json")
    assert call(f"report tiny-runner other {a}").code == 2


def test_rows_of_several_devices_are_not_paired(tmp_path: Path, call: Caller) -> None:
    a = write(tmp_path / "a", [0, 1, 2], "one processor", ("adamw",))
    b = write(tmp_path / "b", [0, 1, 2], "another processor", ("muon",))
    code, out, _ = call(f"report {a} {b}")
    assert code == 0
    assert "never paired by seed" in " ".join(out.split())


def test_conflicts_are_told_and_the_first_folder_stays(tmp_path: Path, call: Caller) -> None:
    a = write(tmp_path / "a", [0], "one processor")
    b = write(tmp_path / "b", [0], "another processor", scores_of=constant)
    code, out, _ = call(f"merge {a} {b} -o {tmp_path / 'both'}")
    last = sum(run["stage"] == "finetune" for run in exported(call, a).values())
    assert code == 0
    assert f"{last} runs have other numbers" in out
    assert "one processor" in out
    assert "another processor" in out
    assert exported(call, tmp_path / "both") == exported(call, a)


def test_interrupted_runs_are_left_behind_and_what_is_left_can_be_read(tmp_path: Path, call: Caller) -> None:
    a, both = write(tmp_path / "a", [0, 1]), tmp_path / "both"
    before = call(f"report --out {a} --format json").out
    with closing(Store.create(a)) as store:  # as Ctrl-C leaves it
        (experiment,) = store.experiments()
        store.keep(RUN, Result(RUN.id, "interrupted"), [], None, member=(experiment.id, [CELL]))
    assert call(f"report --out {a} --format json").out == before
    merge([a], both)
    assert call(f"report --out {both} --format json").out == before
    assert call(f"gc --yes --out {a}").code == 0
    assert call(f"report --out {a} --format json").out == before


@each("fresh", [False, True])
def test_a_later_attempt_of_a_run_is_the_same_run(tmp_path: Path, call: Caller, fresh: bool) -> None:
    """Of a folder the last attempt counts; beside another folder's it is known, or a conflict, like any other."""
    folder = tmp_path / str(fresh)
    folder.mkdir()
    a, b = write(folder / "a", [0]), write(folder / "b", [0], scores_of=constant if fresh else scored)
    with closing(Store.create(b)) as store, store.writing() as db:
        for table, column in (("runs", "id"), ("paths", "run"), ("members", "run")):
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for row in db.execute(f"SELECT * FROM {table}").fetchall():
                later = [2 if name == "attempt" else value for name, value in zip(names, row, strict=True)]
                reseal = quick_seal if table == "runs" else seal
                sealed = later if table == "paths" else [*later[:-1], reseal(*later[:-1])]
                db.execute(f"DELETE FROM {table} WHERE {column} = ? AND attempt = 1", (row[names.index(column)],))
                db.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", sealed)
    merged = merge([a, b], folder / "both")
    last = sum(run["stage"] == "finetune" for run in exported(call, a).values())
    assert (len(merged.conflicts), merged.runs[b]) == (last if fresh else 0, 0)
    assert exported(call, folder / "both") == exported(call, a)
    assert call(f"gc --yes --out {folder}/both").code == 0
    assert exported(call, folder / "both") == exported(call, a)


def test_weights_are_copied_if_they_match_their_checksum(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [0])
    (a / "weights").mkdir()
    with closing(sqlite3.connect(a / DATABASE)) as db, db:
        whole, damaged = (run for (run,) in db.execute("SELECT id FROM runs LIMIT 2").fetchall())
        for run, name in ((whole, "whole.safetensors"), (damaged, "damaged.safetensors")):
            put(db, "weights", run, 1, name, 7, sha256(b"weights").hexdigest())
            (a / "weights" / name).write_bytes(b"weights" if run == whole else b"weightz")
    merged = merge([a], tmp_path / "both")
    assert merged.lost == ["damaged.safetensors"]
    assert [file.name for file in (tmp_path / "both" / "weights").iterdir()] == ["whole.safetensors"]
    with closing(Store.read(tmp_path / "both")) as store:
        assert {run for run, result in store.results().items() if result.weights} == {whole}


def test_a_folder_of_format_4_is_merged_and_not_changed(tmp_path: Path, call: Caller) -> None:
    a = write(tmp_path / "a", [0, 1])
    shutil.copytree(a, tmp_path / "older")
    format_4.rewrite(tmp_path / "older")
    content = (tmp_path / "older" / DATABASE).read_bytes()
    merge([tmp_path / "older"], tmp_path / "new")
    assert (tmp_path / "older" / DATABASE).read_bytes() == content
    assert exported(call, tmp_path / "new") == exported(call, a)


def test_damaged_missing_and_repeated_folders_are_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [0])
    for folders in ([a, a], [tmp_path / "none"], [a, tmp_path / "new"]):
        with pytest.raises(BadInput, match=r"twice|no results"):
            merge(folders, tmp_path / "new")
    with pytest.raises(BadInput, match="none has no results"):
        merge([a, tmp_path / "none"], tmp_path / "new")
    assert not (tmp_path / "new").exists()  # nothing was copied
    for number, table in enumerate(("runs SET seconds = 9", "paths SET losses = ''", "members SET cell = ''")):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(a, copy)
        with closing(sqlite3.connect(copy / DATABASE)) as db, db:
            db.execute(f"UPDATE {table}")
        with pytest.raises(BadInput, match="checksum"):
            merge([copy], tmp_path / f"merged-{number}")
