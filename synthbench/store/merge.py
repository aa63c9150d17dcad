"""Merging folders of results: runs by id, with what belongs to them; of a run that several have, the first one's.

A run has one id and should have one result. Where two folders have other numbers for it (device names say why: processors
round differently), that is a conflict: the first folder's stays, and the caller is told. Nothing is changed in the sources,
and a merge that was interrupted is completed by repeating it.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from synthbench.common.errors import BadInput
from synthbench.common.files import is_file, write_whole
from synthbench.common.wording import named
from synthbench.experiment.runs import RunId
from synthbench.store.database import DATABASE, MENDED, Row, damaged
from synthbench.store.results import MEMBERS, RUNS, Store, is_weights_name
from synthbench.store.run_rows import COLUMNS, RunRow, is_sealed, put, quick_seal
from synthbench.store.upgrade import OLD, format_of, upgrade
from synthbench.store.weights import WeightFile

BATCH = 1000  # runs copied in one transaction
KNOWN = (
    f"SELECT id, attempt, {COLUMNS} FROM runs WHERE id = ? AND status != 'interrupted' ORDER BY attempt DESC LIMIT 1"
)
MARKS = ",".join("?" * 15)  # of a row of runs


class Conflict(NamedTuple):
    """A run with different numbers in two folders. kept, other: devices that trained it in the folder that is kept and in
    the other one."""

    run: RunId
    folder: Path
    kept: str
    other: str


@dataclass
class Merged:
    """What became of a merge. runs: copied, by folder. known: runs that a folder before had, too. lost: weight files that
    are missing or do not match their checksum."""

    runs: dict[Path, int] = field(default_factory=dict)
    known: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], target: Path, *, whole: bool = True) -> Merged:
    """Puts all finished runs of some folders, of each its last attempt, into one, which may have results already. whole:
    with weights and observations, which tables do not need.

    Raises BadInput where a folder has no results, is damaged or given twice.
    """
    places = [source.resolve() for source in sources]
    for index, (source, place) in enumerate(zip(sources, places, strict=True)):
        if place in places[:index] or place == target.resolve():
            raise BadInput(f"merge: {named(source)} is given twice; every folder must be another one.")
        if not is_file(source / DATABASE):
            raise BadInput(f"merge: {named(source)} has no results.")
    merged = Merged()
    with closing(Store.create(target)) as store:
        for source in sources:
            with opened(source) as from_source, from_source.snapshot():
                merged.runs[source] = 0
                _copy_runs(source, from_source, store, merged, whole=whole)
                _copy_experiments(from_source, store)
    return merged


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """A folder's results to read; of one of format 4 a copy in the present format."""
    if not is_file(folder / DATABASE) or format_of(folder) != OLD:
        with closing(Store.read(folder)) as store:
            yield store
        return
    with tempfile.TemporaryDirectory(prefix="synthbench-") as name:
        copy = Path(name)
        for file in folder.glob(f"{DATABASE}*"):
            shutil.copyfile(file, copy / file.name)
        upgrade(copy, Store.schema)
        with closing(Store.read(copy)) as store:
            yield store


def _copy_runs(folder: Path, source: Store, target: Store, merged: Merged, *, whole: bool) -> None:
    batch: list[RunRow] = []
    for row in source.each(f"{RUNS} GROUP BY id"):  # the last attempt of each, which its experiments have
        run = RunRow(*row)
        if not run.is_valid:
            raise damaged(folder, f"run {run.id[:12]} does not match its checksum", MENDED)
        batch.append(run)
        if len(batch) == BATCH:
            _copy_batch(batch, folder, source, target, merged, whole=whole)
            batch = []
    _copy_batch(batch, folder, source, target, merged, whole=whole)


def _copy_batch(
    batch: Sequence[RunRow], folder: Path, source: Store, target: Store, merged: Merged, *, whole: bool
) -> None:  # fmt: skip
    with target.writing() as db:
        for run in batch:
            key = run.id, run.attempt
            found = db.execute(KNOWN, key[:1]).fetchone()  # of whichever attempt
            if found is None:
                db.execute(f"INSERT OR REPLACE INTO runs VALUES ({MARKS})", run)
                _copy_path(db, run, folder, source)
                merged.runs[folder] += 1
            elif _differ(known := RunRow(*found), run):
                merged.conflicts.append(Conflict(run.id, folder, known.device, run.device))
                continue
            else:
                merged.known += 1
            if whole and (found is None or found[1] == run.attempt):
                for row in source.rows("SELECT * FROM observations WHERE run = ? AND attempt = ?", key):
                    if is_sealed(row):  # without them a run is trained again where a score is edited
                        db.execute("INSERT OR IGNORE INTO observations VALUES (?,?,?,?)", row)
                for row in source.rows("SELECT * FROM weights WHERE run = ? AND attempt = ?", key):
                    if _copy_weights(row, folder, target, merged):
                        db.execute("INSERT OR REPLACE INTO weights VALUES (?,?,?,?,?,?)", row)


def _differ(one: RunRow, other: RunRow) -> bool:
    """Whether two results of one run have other numbers. Those that different code scored cannot be compared."""
    is_comparable = one.scores_source == other.scores_source
    return is_comparable and (one.status, one.scores, one.path_seal) != (other.status, other.scores, other.path_seal)


def _copy_path(db: sqlite3.Connection, run: RunRow, folder: Path, source: Store) -> None:
    rows = source.rows("SELECT * FROM paths WHERE run = ? AND attempt = ?", (run.id, run.attempt))
    if not rows or quick_seal(*rows[0][2:]) != run.path_seal:
        raise damaged(folder, f"the path of run {run.id[:12]} does not match its checksum", MENDED)
    db.execute("INSERT OR REPLACE INTO paths VALUES (?,?,?,?)", rows[0])


def _copy_weights(row: Row, folder: Path, target: Store, merged: Merged) -> bool:
    """Copies a file of weights if it matches its checksum; whether it did."""
    file = WeightFile(*row[2:-1])
    if not is_sealed(row) or not is_weights_name(file.name):
        raise damaged(folder, f"the row of weights of run {str(row[0])[:12]} does not match its checksum", MENDED)
    try:
        content = (folder / "weights" / file.name).read_bytes()
    except OSError:
        content = b""
    if (len(content), sha256(content).hexdigest()) != (file.size, file.sha256):
        merged.lost.append(file.name)
        return False
    target.weights.mkdir(exist_ok=True)
    if not is_file(target.weights / file.name):
        write_whole(target.weights / file.name, content)
    return True


def _copy_experiments(source: Store, target: Store) -> None:
    """Members of an experiment that both have are put together; it is finished where it is in both."""
    for recorded in reversed(source.experiments()):  # the last used one stays the last
        known = {one.id: one.finished for one in target.experiments()}
        name, card, tasks, command, finished = recorded
        target.record(name, card, tasks, command, finished=finished and known.get(name, True))
        members = [tuple(row[1:]) for row in source.rows(MEMBERS, (name,))]
        if not all(map(is_sealed, members)):
            raise damaged(source.folder, "the row of a member does not match its checksum", MENDED)
        with target.writing() as db:
            attempts = dict(db.execute("SELECT id, max(attempt) FROM runs WHERE status != 'interrupted' GROUP BY id"))
            for experiment, run, _, cell, _ in members:
                if run in attempts:
                    put(db, "members", experiment, run, attempts[run], cell, other="IGNORE")
