"""The store: a folder with `results.db` and `weights/`. Only the main process writes to the database.

Every row carries a checksum of its content (of a run: with its scores), for SQLite does not notice a flipped bit. A run
that does not match counts as lost: `run` trains it again, commands that only read refuse.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

from synthbench.cards.base import canonical
from synthbench.common.files import is_file
from synthbench.experiment import identity
from synthbench.experiment.readings import read
from synthbench.experiment.runs import Cell, Result, Run, RunId, Scores
from synthbench.scores import run_scores
from synthbench.store.arrays import wanted_of
from synthbench.store.database import DATABASE, MENDED, Database, Row, damaged, seal
from synthbench.store.observations import from_bytes
from synthbench.store.run_rows import (
    COLUMNS,
    RunRow,
    StoredPath,
    is_sealed,
    path_of,
    put,
    put_run,
    settings,
    settings_in,
    stored,
)
from synthbench.store.upgrade import upgrade
from synthbench.store.weights import WeightFile

__all__ = ["DATABASE", "Store"]

SCHEMA = """
CREATE TABLE runs (
  id TEXT, attempt INTEGER, identity TEXT NOT NULL, status TEXT NOT NULL, steps INTEGER, fleet_size INTEGER, seconds REAL,
  started TEXT, device TEXT, versions TEXT, scores TEXT, scores_source TEXT, readings BLOB, path_seal TEXT,
  seal TEXT NOT NULL, PRIMARY KEY (id, attempt));
CREATE TABLE paths (run TEXT, attempt INTEGER, content BLOB, losses TEXT, PRIMARY KEY (run, attempt));
CREATE TABLE observations (run TEXT, attempt INTEGER, content BLOB, seal TEXT NOT NULL, PRIMARY KEY (run, attempt));
CREATE TABLE weights (
  run TEXT, attempt INTEGER, name TEXT NOT NULL, size INTEGER, sha256 TEXT, seal TEXT NOT NULL,
  PRIMARY KEY (run, attempt));
CREATE TABLE experiments (
  id TEXT PRIMARY KEY, card TEXT NOT NULL, tasks TEXT NOT NULL, command TEXT NOT NULL, used INTEGER NOT NULL,
  finished INTEGER NOT NULL, seal TEXT NOT NULL);
CREATE TABLE members (
  experiment TEXT, run TEXT, attempt INTEGER, cell TEXT, seal TEXT NOT NULL, PRIMARY KEY (experiment, run, cell));
CREATE TABLE leases (run TEXT PRIMARY KEY, owner TEXT NOT NULL, beat INTEGER NOT NULL)
"""
RUNS = f"SELECT id, max(attempt), {COLUMNS} FROM runs WHERE status != 'interrupted'"
LOOKED_UP = 500  # runs: of more, all rows are read
PATH = "SELECT content, losses FROM paths WHERE run = ? AND attempt = ?"
WEIGHTS = "SELECT run, attempt, name, size, sha256, seal FROM weights"
MEMBERS = (  # found by their index, then read in their order: faster than sorting them
    "SELECT rowid, experiment, run, attempt, cell, seal FROM members "
    "WHERE rowid IN (SELECT rowid FROM members WHERE experiment = ?) ORDER BY rowid"
)
EXPERIMENTS = "SELECT id, card, tasks, command, used, finished, seal FROM experiments ORDER BY used DESC"


Rescored = tuple[Result, str, str]  # a run that was scored again, its identity and losses as JSON
Settings = dict[str, Any]  # of a run: its identity


class Kept(NamedTuple):
    """A run to store. curve: its training losses. observations: as bytes, see `observations.py`. cells: of an experiment
    that it belongs to."""

    run: Run
    result: Result
    curve: Sequence[float | None]
    weights: WeightFile | None
    observations: bytes | None
    cells: Sequence[Cell] = ()


class Known(NamedTuple):
    """Of the finished runs of an experiment their cells, results without paths, and identities."""

    cells: dict[RunId, list[Cell]]
    results: dict[RunId, Result]
    identities: dict[RunId, Settings]


class Recorded(NamedTuple):
    """An experiment in the store. card, tasks: JSON. finished: whether all of its runs are done."""

    id: str
    card: str
    tasks: str
    command: str
    finished: bool


class Store(Database):
    """Results in a folder. damaged: runs that did not match their checksums, while writing."""

    schema = SCHEMA
    read_first = ("experiments", "members", "runs", "weights")

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        super().__init__(folder, connection, read_only=read_only)
        self.damaged: set[RunId] = set()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Opens a folder for writing; makes it where it is absent, and brings one of format 4 to the present one."""
        if is_file(folder / DATABASE):
            upgrade(folder, SCHEMA)
        return super().create(folder)

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    def keep(
        self, run: Run, result: Result, curve: Sequence[float | None], weights: WeightFile | None,
        observations: bytes | None = None, *, member: tuple[str, Sequence[Cell]] | None = None,
    ) -> None:  # fmt: skip
        """Stores one run; member: the experiment and the cells that it belongs to."""
        experiment, cells = member or ("", [])
        self.keep_all([Kept(run, result, curve, weights, observations, cells)], experiment)

    def keep_all(self, runs: Sequence[Kept], experiment: str) -> None:
        """Stores runs, and the cells of an experiment that they belong to, in one transaction.

        An interrupted or damaged row of the same attempt is replaced. Of a finished one (trained again for its lost
        weights, or by two processes) only the weights are.
        """
        source = identity.scores_source()
        with self.writing() as db:
            for kept in runs:
                self._keep(db, kept, experiment, source)
        self.damaged.difference_update(kept.run.id for kept in runs)

    def _keep(self, db: sqlite3.Connection, kept: Kept, experiment: str, source: str) -> None:
        run, result, curve, weights, observations, cells = kept
        key = (run.id, result.attempt)
        finished = db.execute(
            "SELECT 1 FROM runs WHERE id = ? AND attempt = ? AND status != 'interrupted'", key
        ).fetchone()
        if not finished or run.id in self.damaged:
            put_run(db, result, canonical(run.identity), json.dumps(curve), source)
            db.execute("DELETE FROM observations WHERE run = ? AND attempt = ?", key)
            if observations is not None:
                put(db, "observations", *key, observations)
        if weights:
            put(db, "weights", *key, *weights)
        other = "IGNORE" if result.status == "interrupted" else "REPLACE"  # it must not replace a finished attempt
        for cell in cells:
            put(db, "members", experiment, *key, json.dumps(cell), other=other)

    def results(self, runs: Iterable[RunId] | None = None, *, paths: bool = True) -> dict[RunId, Result]:
        """The last finished attempt of each run (of these runs, or all).

        Scores are those of today's code: where it was edited they are computed again from the run's observations. paths:
        whether they are read now, or each when it is looked at. In a store that is open for writing they are checked now.
        """
        return {row.id: result for row, result in self._finished(runs, paths=paths)}

    def known(self, experiment: str) -> Known:
        """What the store has of the finished runs of an experiment, in one pass."""
        enlisted, results, identities = self._enlisted(experiment), dict[RunId, Result](), dict[RunId, Settings]()
        for row, result in self._finished(enlisted, paths=False):
            if (content := settings_in(row.identity)) is None:
                self._mark_damaged(row.id)
            else:
                results[row.id], identities[row.id] = result, content
        if len(results) < len(enlisted):
            self._check_lost(enlisted)
            self.identities()  # which refuses a damaged one of an interrupted run, too
        return Known({run: cells for run, cells in enlisted.items() if run in results}, results, identities)

    def _finished(self, runs: Iterable[RunId] | None, *, paths: bool) -> Iterator[tuple[RunRow, Result]]:
        """The last finished attempt of each of these runs, with its row. What is scored again is stored at the end."""
        wanted, rescored, source = None if runs is None else set(runs), list[Rescored](), identity.scores_source()
        with self.snapshot():  # another process may score again, too
            weights = {row[:2]: row for row in self._rows_of(wanted, f"{WEIGHTS} WHERE true", "run")}
            for row in map(RunRow._make, self._rows_of(wanted, RUNS, "id", "GROUP BY id")):
                result = self._result(row, weights.get(row[:2]), paths=paths)
                if result is not None and row.scores_source != source:
                    result = self._scored_again(result, row, rescored)
                if result is None:
                    self._mark_damaged(row.id)
                else:
                    yield row, result
        if rescored and not self._read_only:
            with self.writing() as db:
                for entry in rescored:
                    put_run(db, *entry, source)

    def _rows_of(self, runs: set[RunId] | None, query: str, column: str, end: str = "") -> Iterator[Row]:
        """The rows of a query that are of these runs (all where None). A few are looked up, as for every fleet."""
        if runs is not None and len(runs) <= LOOKED_UP:
            yield from self.each(f"{query} AND {column} IN ({','.join('?' * len(runs))}) {end}", tuple(runs))
        else:
            yield from (row for row in self.each(f"{query} {end}") if runs is None or row[0] in runs)

    def _result(self, row: RunRow, weights: Row | None, *, paths: bool) -> Result | None:
        """A run from its rows; None where they do not match their checksums."""
        if not row.is_valid or not (weights is None or is_sealed(weights)):
            return None
        of = row.id, row.attempt, row.path_seal  # not the row, which would stay in memory
        path: Mapping[int, Scores] | None = StoredPath(lambda: self._known_path(*of))
        if paths or not self._read_only:
            read_now = self._path(*of)
            path = read_now if paths or read_now is None else path
        return None if path is None else row.result(weights[2] if weights else None, path)

    def _path(self, run: RunId, attempt: int, path_seal: str) -> dict[int, dict[str, float]] | None:
        """The path of a run, None where it does not match its checksum."""
        rows = self.rows(PATH, (run, attempt))
        return path_of(rows[0][0], rows[0][1], path_seal) if rows else None

    def _known_path(self, run: RunId, attempt: int, path_seal: str) -> dict[int, dict[str, float]]:
        """The same; raises BadInput where it is lost."""
        path = self._path(run, attempt, path_seal)
        return self._lost(run) if path is None else path

    def _scored_again(self, result: Result, row: RunRow, rescored: list[Rescored]) -> Result | None:
        """A run with its scores computed again by today's code; None where its observations are lost."""
        key = (result.run, result.attempt)
        rows = self.rows("SELECT content, seal FROM observations WHERE run = ? AND attempt = ?", key)
        kept = self.rows(PATH, key)
        if not rows or not kept or rows[0][1] != seal(*key, rows[0][0]):
            return None
        try:
            observations = from_bytes(rows[0][0])
        except Exception:  # a forged archive, whose checksum matches, may make numpy raise anything
            return None
        path, ends = run_scores(observations)
        scores = stored(ends) if result.status == "ok" else {}
        path, of = {step: stored(point) for step, point in path.items()}, wanted_of(row.readings)
        again = replace(result, path=path, scores=scores, readings=read(path, of) if of else None)
        rescored.append((again, row.identity, kept[0][1]))
        return again

    def _lost(self, run: RunId) -> NoReturn:
        raise damaged(self.folder, f"run {run[:12]} does not match its checksum, or a part of it is lost", MENDED)

    def _mark_damaged(self, run: RunId) -> None:
        if self._read_only:
            self._lost(run)
        self.damaged.add(run)

    def later(self, result: Result) -> Result:
        """A stored result without its path, which is read when it is looked at: of many, not all are in memory."""
        run = result.run  # the result itself would keep its path in memory
        return replace(result, path=StoredPath(lambda: self.results([run])[run].path))

    def curve(self, result: Result) -> list[float]:
        """The training losses of a run that did not diverge: means over equal parts of its stage."""
        ((_, losses),) = self.rows(PATH, (result.run, result.attempt))
        curve: list[float] = json.loads(losses)
        return curve

    def valid_weights(self, result: Result) -> WeightFile | None:
        """The weights of a run, if their file is here and matches its checksum."""
        for row in self.rows(f"{WEIGHTS} WHERE run = ? AND attempt = ?", (result.run, result.attempt)):
            weights = WeightFile(*row[2:-1])
            if not is_sealed(row) or not is_weights_name(weights.name):
                return None
            with suppress(OSError):
                file = self.weights / weights.name
                if file.stat().st_size == weights.size and sha256(file.read_bytes()).hexdigest() == weights.sha256:
                    return weights
        return None

    def attempts(self) -> dict[RunId, int]:
        """The number of the last attempt of each run, finished or not."""
        return dict(self.rows("SELECT id, max(attempt) FROM runs GROUP BY id"))

    def interrupted(self, experiment: str) -> list[tuple[RunId, int, dict[str, Any]]]:
        """Runs of an experiment that never finished: id, attempt, identity."""
        rows = self.rows(
            "SELECT id, attempt, identity FROM runs r WHERE status = 'interrupted' "
            "AND id IN (SELECT run FROM members WHERE experiment = ?) AND NOT EXISTS "
            "(SELECT 1 FROM runs o WHERE o.id = r.id AND o.attempt >= r.attempt AND o.status != 'interrupted')",
            (experiment,),
        )
        identities = [(run, attempt, settings(run, text)) for run, attempt, text in rows]
        return [(run, attempt, known) for run, attempt, known in identities if known]

    def identities(self) -> dict[RunId, dict[str, Any]]:
        """Every run's identity by its id."""
        valid, invalid = dict[RunId, dict[str, Any]](), set[RunId]()
        for run, text in self.each("SELECT id, identity FROM runs"):
            if run not in valid and (known := settings(run, text)):
                valid[run] = known
            elif run not in valid:
                invalid.add(run)
        for run in invalid - valid.keys():
            self._mark_damaged(run)
        return valid

    def record(self, experiment: str, card: str, tasks: str, command: str, *, finished: bool = False) -> None:
        """Stores an experiment as the one last used: its resolved card and tasks as JSON, the command, whether all of
        its runs are done."""
        with self.writing() as db:
            valid = filter(is_sealed, db.execute(EXPERIMENTS).fetchall())
            last = max((used for *_, used, _, _ in valid), default=0)  # no clock, it may jump
            put(db, "experiments", experiment, card, tasks, command, last + 1, int(finished))

    def experiments(self) -> list[Recorded]:
        """Every experiment, the last used one first."""
        rows = self._valid(self.rows(EXPERIMENTS), "an experiment")
        return [
            Recorded(name, card, tasks, command, bool(finished)) for name, card, tasks, command, _, finished, _ in rows
        ]

    def enlist(self, experiment: str, members: Sequence[tuple[RunId, int, Cell]]) -> None:
        """Stores members of an experiment: run, attempt, cell. Damaged rows of these runs are deleted."""
        runs = {run for run, *_ in members}
        with self.writing() as db:
            for rowid, *row in db.execute(MEMBERS, (experiment,)).fetchall():
                if row[1] in runs and not is_sealed(tuple(row)):
                    db.execute("DELETE FROM members WHERE rowid = ?", (rowid,))
            for run, attempt, cell in members:
                put(db, "members", experiment, run, attempt, json.dumps(cell))

    def dismiss(self, experiment: str, members: Iterable[tuple[RunId, Cell]]) -> None:
        """Takes runs out of the cells of an experiment; the runs themselves stay."""
        gone = {(run, json.dumps(cell)) for run, cell in members}
        if not gone:
            return
        with self.writing() as db:
            for rowid, _, run, _, cell, _ in db.execute(MEMBERS, (experiment,)).fetchall():
                if (run, cell) in gone:
                    db.execute("DELETE FROM members WHERE rowid = ?", (rowid,))

    def members(self, experiment: str) -> dict[RunId, list[Cell]]:
        """The finished runs of an experiment with their cells: a run can be a member of several."""
        enlisted = self._enlisted(experiment)
        finished = self._check_lost(enlisted)
        return {run: cells for run, cells in enlisted.items() if finished.get(run)}

    def _enlisted(self, experiment: str) -> dict[RunId, list[Cell]]:
        """All runs of an experiment, interrupted ones, too."""
        enlisted: dict[RunId, list[Cell]] = {}
        for _, run, _, cell, _ in self._valid([row[1:] for row in self.rows(MEMBERS, (experiment,))], "a member"):
            enlisted.setdefault(run, []).append(_cell(cell))
        return enlisted

    def _check_lost(self, runs: Iterable[RunId]) -> dict[RunId, int]:
        """Of every run whether it is finished; raises BadInput in a read-only store where one of these is not there."""
        finished = dict[RunId, int](self.rows("SELECT id, max(status != 'interrupted') FROM runs GROUP BY id"))
        if self._read_only and (lost := [run for run in runs if run not in finished]):
            raise damaged(self.folder, f"run {lost[0][:12]} is lost", MENDED)
        return finished

    def drop_weights(self, runs: Iterable[tuple[RunId, int]]) -> None:
        """Deletes the weight files of these runs; the rows go first, so that no row names a lost file."""
        rows: list[Row] = []
        with self.writing() as db:
            for key in runs:
                rows += db.execute(f"{WEIGHTS} WHERE run = ? AND attempt = ?", key)
                db.execute("DELETE FROM weights WHERE run = ? AND attempt = ?", key)
        for _, _, name, *_ in filter(is_sealed, rows):
            if is_weights_name(name):
                (self.weights / name).unlink(missing_ok=True)

    def _valid(self, rows: list[Row], what: str) -> list[Row]:
        """The rows that match the checksum in their last column; raises BadInput for others in a read-only store."""
        valid = [row for row in rows if is_sealed(row)]
        if self._read_only and len(valid) < len(rows):
            raise damaged(self.folder, f"the row of {what} does not match its checksum", MENDED)
        return valid


def is_weights_name(name: str) -> bool:
    """Whether a weight file may have this name: whatever a row says, nothing outside of the folder is read or deleted."""
    return re.fullmatch(r"[\w-]+\.safetensors", str(name)) is not None


@lru_cache(65536)
def _cell(text: str) -> Cell:
    task, stage, base, optimizer, update, weight_decay, size, *at = json.loads(text)
    point = tuple((label, value) for label, value in at[0]) if at else ()  # none is stored by versions before axes
    return Cell(task, stage, tuple(base), optimizer, update, weight_decay, size, point)
