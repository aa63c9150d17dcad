"""The store: a folder with `results.db` and `weights/`. Only the main process writes to the database.

Every row carries a checksum of its content (of a run: with its scores), for SQLite does not notice a flipped bit. A run
that does not match counts as lost: `run` trains it again, commands that only read refuse.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from synthbench.cards import fingerprint
from synthbench.experiment import identity
from synthbench.experiment.runs import Cell, Result, Run, RunId, Scores
from synthbench.scores import run_scores
from synthbench.store.database import DATABASE, MENDED, Database, Row, damaged, seal
from synthbench.store.observations import from_bytes
from synthbench.store.weights import WeightFile

__all__ = ["DATABASE", "Store"]

SCHEMA = """
CREATE TABLE runs (
  id TEXT, attempt INTEGER, identity TEXT NOT NULL, status TEXT NOT NULL, fleet_size INTEGER, seconds REAL, started TEXT,
  device TEXT, versions TEXT, scores_source TEXT, path_seal TEXT, seal TEXT NOT NULL, PRIMARY KEY (id, attempt));
CREATE TABLE scores (
  run TEXT, attempt INTEGER, step INTEGER, sampled INTEGER, name TEXT, value REAL,
  PRIMARY KEY (run, attempt, step, sampled, name)) WITHOUT ROWID;
CREATE TABLE curves (run TEXT, attempt INTEGER, losses TEXT, PRIMARY KEY (run, attempt));
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
RUNS = (
    "SELECT id, max(attempt), identity, status, fleet_size, seconds, started, device, versions, scores_source, "
    "path_seal, seal FROM runs WHERE status != 'interrupted' GROUP BY id"
)
ENDS = "SELECT name, value FROM scores WHERE run = ? AND attempt = ? AND sampled = 0 ORDER BY name"
PATH = "SELECT step, name, value FROM scores WHERE run = ? AND attempt = ? AND sampled = 1 ORDER BY step, name"
CURVE = "SELECT losses FROM curves WHERE run = ? AND attempt = ?"
WEIGHTS = "SELECT run, attempt, name, size, sha256, seal FROM weights"
MEMBERS = "SELECT rowid, experiment, run, attempt, cell, seal FROM members WHERE experiment = ? ORDER BY rowid"
EXPERIMENTS = "SELECT id, card, tasks, command, used, finished, seal FROM experiments ORDER BY used DESC"


Rescored = tuple[Result, str, str]  # a run that was scored again, its identity and losses as JSON


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

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        super().__init__(folder, connection, read_only=read_only)
        self.damaged: set[RunId] = set()

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    def keep(
        self, run: Run, result: Result, curve: Sequence[float | None], weights: WeightFile | None,
        observations: bytes | None = None, *, member: tuple[str, Sequence[Cell]] | None = None,
    ) -> None:  # fmt: skip
        """Stores a run, and the experiment and cells that it belongs to, in one transaction.

        An interrupted or damaged row of the same attempt is replaced. Of a finished one (trained again for its lost
        weights, or by two processes) only the weights are. observations: see `observations.py`.
        """
        key = (run.id, result.attempt)
        with self.writing() as db:
            finished = db.execute(
                "SELECT 1 FROM runs WHERE id = ? AND attempt = ? AND status != 'interrupted'", key
            ).fetchone()
            if not finished or run.id in self.damaged:
                _put_run(db, result, json.dumps(run.identity, sort_keys=True), json.dumps(curve))
                db.execute("DELETE FROM observations WHERE run = ? AND attempt = ?", key)
                if observations is not None:
                    _put(db, "observations", *key, observations)
            if weights:
                _put(db, "weights", *key, *weights)
            experiment, cells = member or ("", [])
            other = "IGNORE" if result.status == "interrupted" else "REPLACE"  # it must not replace a finished attempt
            for cell in cells:
                _put(db, "members", experiment, *key, json.dumps(cell), other=other)
        self.damaged.discard(run.id)

    def results(self, runs: Iterable[RunId] | None = None) -> dict[RunId, Result]:
        """The last finished attempt of each run (of these runs, or all).

        Scores are those of today's code: where it was edited they are computed again from the run's observations.
        """
        wanted = None if runs is None else set(runs)
        results, rescored = {}, list[Rescored]()
        with self.snapshot():  # another process may score again, too
            weights = {row[:2]: row for row in self.rows(WEIGHTS)}
            for row in self.rows(RUNS):
                if wanted is None or row[0] in wanted:
                    result = self._result(row, weights.get(row[:2]), rescored)
                    if result is None:
                        self._mark_damaged(row[0])
                    else:
                        results[result.run] = result
        if rescored and not self._read_only:
            with self.writing() as db:
                for entry in rescored:
                    _put_run(db, *entry)
        return results

    def _result(self, row: Row, weights: Row | None, rescored: list[Rescored]) -> Result | None:
        """A run from its rows; None where they do not match their checksums. rescored: gets it if it is scored again."""
        run, attempt, text, status, fleet_size, seconds, started, device, versions, source, path_seal, run_seal = row
        key = (run, attempt)
        ends = self.rows(ENDS, key)
        is_valid = run_seal == seal(*row[:-1], ends) and (weights is None or _is_valid(weights))
        if not is_valid or _identity(run, text) is None:
            return None
        is_old = source != identity.scores_source()
        values = self.rows(PATH, key)
        if path_seal != seal(values, *self.rows(CURVE, key)):
            return None
        known = (attempt, weights[2] if weights else None, fleet_size, seconds, started, device, json.loads(versions))
        if is_old:
            return self._scored_again(Result(run, status, {}, {}, *known), text, rescored)
        path: dict[int, dict[str, float]] = {}
        for step, name, value in values:
            path.setdefault(step, {})[name] = value
        return Result(run, status, dict(ends), path, *known)

    def _scored_again(self, result: Result, identity_text: str, rescored: list[Rescored]) -> Result | None:
        """A run with its scores computed again by today's code; None where its observations are lost."""
        key = (result.run, result.attempt)
        rows = self.rows("SELECT content, seal FROM observations WHERE run = ? AND attempt = ?", key)
        curve = self.rows(CURVE, key)
        if not rows or not curve or rows[0][1] != seal(*key, rows[0][0]):
            return None
        try:
            observations = from_bytes(rows[0][0])
        except Exception:  # a forged archive, whose checksum matches, may make numpy raise anything
            return None
        path, ends = run_scores(observations)
        ends = ends if result.status == "ok" else {}
        again = replace(result, path={step: _stored(point) for step, point in path.items()}, scores=_stored(ends))
        rescored.append((again, identity_text, curve[0][0]))
        return again

    def _mark_damaged(self, run: RunId) -> None:
        if self._read_only:
            raise damaged(self.folder, f"run {run[:12]} does not match its checksum, or a part of it is lost", MENDED)
        self.damaged.add(run)

    def curve(self, result: Result) -> list[float]:
        """The training losses of a run that did not diverge: means over equal parts of its stage."""
        ((losses,),) = self.rows(CURVE, (result.run, result.attempt))
        curve: list[float] = json.loads(losses)
        return curve

    def valid_weights(self, result: Result) -> WeightFile | None:
        """The weights of a run, if their file is here and matches its checksum."""
        for row in self.rows(f"{WEIGHTS} WHERE run = ? AND attempt = ?", (result.run, result.attempt)):
            weights = WeightFile(*row[2:-1])
            if not _is_valid(row) or not _is_weights_name(weights.name):
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
        identities = [(run, attempt, _identity(run, text)) for run, attempt, text in rows]
        return [(run, attempt, known) for run, attempt, known in identities if known]

    def identities(self) -> dict[RunId, dict[str, Any]]:
        """Every run's identity by its id."""
        rows = self.rows("SELECT id, identity FROM runs")
        valid = {run: known for run, text in rows if (known := _identity(run, text))}
        for run in {run for run, _ in rows} - valid.keys():
            self._mark_damaged(run)
        return valid

    def record(self, experiment: str, card: str, tasks: str, command: str, *, finished: bool = False) -> None:
        """Stores an experiment as the one last used: its resolved card and tasks as JSON, the command, whether all of
        its runs are done."""
        with self.writing() as db:
            valid = filter(_is_valid, db.execute(EXPERIMENTS).fetchall())
            last = max((used for *_, used, _, _ in valid), default=0)  # no clock, it may jump
            _put(db, "experiments", experiment, card, tasks, command, last + 1, int(finished))

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
                if row[1] in runs and not _is_valid(tuple(row)):
                    db.execute("DELETE FROM members WHERE rowid = ?", (rowid,))
            for run, attempt, cell in members:
                _put(db, "members", experiment, run, attempt, json.dumps(cell))

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
        rows = self._valid([tuple(row) for _, *row in self.rows(MEMBERS, (experiment,))], "a member")
        finished = dict[RunId, int](self.rows("SELECT id, max(status != 'interrupted') FROM runs GROUP BY id"))
        if self._read_only and (lost := [run for _, run, *_ in rows if run not in finished]):
            raise damaged(self.folder, f"run {lost[0][:12]} is lost", MENDED)
        members: dict[RunId, list[Cell]] = {}
        for _, run, _, cell, _ in rows:
            if finished.get(run):
                members.setdefault(run, []).append(_cell(json.loads(cell)))
        return members

    def drop_weights(self, runs: Iterable[tuple[RunId, int]]) -> None:
        """Deletes the weight files of these runs; the rows go first, so that no row names a lost file."""
        rows: list[Row] = []
        with self.writing() as db:
            for key in runs:
                rows += db.execute(f"{WEIGHTS} WHERE run = ? AND attempt = ?", key)
                db.execute("DELETE FROM weights WHERE run = ? AND attempt = ?", key)
        for _, _, name, *_ in filter(_is_valid, rows):
            if _is_weights_name(name):
                (self.weights / name).unlink(missing_ok=True)

    def _valid(self, rows: list[Row], what: str) -> list[Row]:
        """The rows that match the checksum in their last column; raises BadInput for others in a read-only store."""
        valid = [row for row in rows if _is_valid(row)]
        if self._read_only and len(valid) < len(rows):
            raise damaged(self.folder, f"the row of {what} does not match its checksum", MENDED)
        return valid


def _put_run(db: sqlite3.Connection, result: Result, identity_text: str, losses: str) -> None:
    """Writes a run with its scores and curve, and the checksums of them all."""
    key = (result.run, result.attempt)
    values = [
        (step, *score) for step, scores in sorted(result.path.items()) for score in sorted(_stored(scores).items())
    ]
    ends = sorted(_stored(result.scores).items())
    row = (
        *key, identity_text, result.status, result.fleet_size, result.seconds, result.started, result.device,
        json.dumps(dict(result.versions)), identity.scores_source(), seal(values, (losses,)),
    )  # fmt: skip
    _put(db, "runs", *row, sealed=(ends,))
    db.execute("DELETE FROM scores WHERE run = ? AND attempt = ?", key)
    db.executemany("INSERT INTO scores VALUES (?,?,?,1,?,?)", [(*key, *value) for value in values])
    last = max(result.path, default=0)
    db.executemany("INSERT INTO scores VALUES (?,?,?,0,?,?)", [(*key, last, *value) for value in ends])
    db.execute("INSERT OR REPLACE INTO curves VALUES (?,?,?)", (*key, losses))


def _put(db: sqlite3.Connection, table: str, *row: Any, sealed: Row = (), other: str = "REPLACE") -> None:
    """Writes a row and its checksum, which is of what is sealed with it, too. other: what becomes of one with its key."""
    db.execute(f"INSERT OR {other} INTO {table} VALUES ({'?,' * len(row)}?)", (*row, seal(*row, *sealed)))


def _stored(scores: Scores) -> dict[str, float]:
    """Scores as SQLite gives them back: it takes -0.0 for 0."""
    return {name: value + 0.0 for name, value in scores.items()}


def _is_valid(row: Row) -> bool:
    """Whether a row matches the checksum in its last column."""
    return bool(row[-1] == seal(*row[:-1]))


def _is_weights_name(name: str) -> bool:
    """Whether a weight file may have this name: whatever a row says, nothing outside of the folder is read or deleted."""
    return re.fullmatch(r"[\w-]+\.safetensors", str(name)) is not None


def _identity(run: RunId, text: Any) -> dict[str, Any] | None:
    """A run's identity, if its id is the hash of it."""
    with suppress(ValueError, TypeError, RecursionError):
        content: dict[str, Any] = json.loads(text)
        if run == fingerprint(content):
            return content
    return None


def _cell(fields: list[Any]) -> Cell:
    task, stage, base, optimizer, update, weight_decay, size, *at = fields
    point = tuple((label, value) for label, value in at[0]) if at else ()  # none is stored by versions before axes
    return Cell(task, stage, tuple(base), optimizer, update, weight_decay, size, point)
