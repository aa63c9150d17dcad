"""The store: a folder with `results.db` (SQLite) and `weights/`. Only the main process writes to the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthbench.errors import BadInput, Failed
from synthbench.experiment.materials import Kept
from synthbench.experiment.runs import Cell, Result, Run, RunId

APPLICATION_ID = 0x53594E42  # "SYNB"
VERSION = 1
DATABASE = "results.db"

SCHEMA = """
CREATE TABLE runs (
  id TEXT, attempt INTEGER, identity TEXT NOT NULL, status TEXT NOT NULL, fleet_size INTEGER, seconds REAL, started TEXT,
  device TEXT, versions TEXT, weights TEXT, weights_size INTEGER, weights_sha256 TEXT, PRIMARY KEY (id, attempt));
CREATE TABLE scores (
  run TEXT, attempt INTEGER, step INTEGER, sampled INTEGER, name TEXT, value REAL,
  PRIMARY KEY (run, attempt, step, sampled, name)) WITHOUT ROWID;
CREATE TABLE curves (run TEXT, attempt INTEGER, losses TEXT, PRIMARY KEY (run, attempt));
CREATE TABLE experiments (
  id TEXT PRIMARY KEY, card TEXT NOT NULL, tasks TEXT NOT NULL, command TEXT NOT NULL, used TEXT NOT NULL);
CREATE TABLE members (
  experiment TEXT, run TEXT, attempt INTEGER, cell TEXT NOT NULL, chosen INTEGER NOT NULL, edge INTEGER NOT NULL,
  PRIMARY KEY (experiment, run));
"""


class Store:
    """Results in a folder. Open with `Store.create` to write and `Store.read` to look."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder, self._db = folder, connection

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    @classmethod
    def create(cls, folder: Path) -> Store:
        """Opens a folder for writing, making it where it is absent; raises BadInput where that cannot be."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            connection = cls._connect(folder, "rwc")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                fresh = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if fresh:
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {VERSION}")
            cls._check(connection, folder)
            connection.execute("PRAGMA journal_mode = WAL")
        except (OSError, sqlite3.OperationalError) as error:
            raise BadInput(f"--out {folder}: results cannot be written there ({error}).") from None
        except sqlite3.DatabaseError:
            raise BadInput(f"--out {folder}: {DATABASE} is not a results file of synthbench.") from None
        return cls(folder, connection)

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Opens a folder for looking only; raises BadInput where it holds no results of ours."""
        if not (folder / DATABASE).is_file():
            raise BadInput(f"--out {folder}: there are no results; make some with: synthbench run --out {folder}")
        try:
            connection = cls._connect(folder, "ro")
            cls._check(connection, folder)
        except sqlite3.OperationalError as error:
            raise BadInput(f"--out {folder}: {DATABASE} cannot be read ({error}).") from None
        except sqlite3.DatabaseError:
            raise BadInput(f"--out {folder}: {DATABASE} is not a results file of synthbench.") from None
        return cls(folder, connection)

    @staticmethod
    def _connect(folder: Path, mode: str) -> sqlite3.Connection:
        address = (folder / DATABASE).resolve().as_uri() + f"?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)

    @staticmethod
    def _check(connection: sqlite3.Connection, folder: Path) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise BadInput(f"--out {folder}: {DATABASE} is not a results file of synthbench.")
        if version > VERSION:
            raise BadInput(
                f"--out {folder}: {DATABASE} has format {version}, this synthbench reads up to {VERSION}; "
                "update synthbench or choose another folder."
            )

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise Failed(f"{self.folder / DATABASE} could not be written ({error}); finished runs are kept.") from None
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def keep(self, run: Run, result: Result, curve: Sequence[float | None], kept: Kept | None) -> None:
        """Stores a run in one transaction; an earlier row of the same attempt (an interrupted one) is replaced."""
        own = (run.id, result.attempt)
        rows = [(*own, step, 1, name, value) for step, scores in result.path.items() for name, value in scores.items()]
        rows += [(*own, run.steps, 0, name, value) for name, value in result.scores.items()]
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (*own, json.dumps(run.identity, sort_keys=True), result.status, result.fleet_size, result.seconds,
                 result.started, result.device, json.dumps(dict(result.versions)),
                 kept and kept.name, kept and kept.size, kept and kept.sha256),
            )  # fmt: skip
            db.executemany("INSERT OR REPLACE INTO scores VALUES (?,?,?,?,?,?)", rows)
            db.execute("INSERT OR REPLACE INTO curves VALUES (?,?,?)", (*own, json.dumps(curve)))

    def results(self, runs: Iterable[RunId] | None = None, paths: bool = True) -> dict[RunId, Result]:
        """The last finished attempt of each run (of those asked for, or all); without paths where they are not needed."""
        found = self._db.execute(
            "SELECT id, max(attempt), status, weights, fleet_size, seconds, started, device, versions FROM runs "
            "WHERE status != 'interrupted' GROUP BY id"
        ).fetchall()
        wanted = None if runs is None else set(runs)
        return {row[0]: self._result(row, paths) for row in found if wanted is None or row[0] in wanted}

    def _result(self, row: tuple[Any, ...], paths: bool) -> Result:
        run, attempt, status, weights, fleet_size, seconds, started, device, versions = row
        path: dict[int, dict[str, float]] = {}
        ends: dict[str, float] = {}
        for step, sampled, name, value in self._db.execute(
            "SELECT step, sampled, name, value FROM scores WHERE run = ? AND attempt = ? AND sampled <= ?",
            (run, attempt, paths),
        ):
            (path.setdefault(step, {}) if sampled else ends)[name] = value
        return Result(
            run, status, ends, path, attempt, weights, fleet_size, seconds, started, device, json.loads(versions)
        )

    def has_weights(self, result: Result) -> bool:
        """Whether a run's weights are still here to start from."""
        return result.weights is not None and (self.weights / result.weights).is_file()

    def attempts(self) -> dict[RunId, int]:
        """The number of the last attempt of each run, finished or not."""
        return dict(self._db.execute("SELECT id, max(attempt) FROM runs GROUP BY id"))

    def interrupted(self) -> list[tuple[RunId, int, dict[str, Any]]]:
        """Runs that never finished: id, attempt, identity."""
        rows = self._db.execute(
            "SELECT id, attempt, identity FROM runs r WHERE status = 'interrupted' AND NOT EXISTS "
            "(SELECT 1 FROM runs o WHERE o.id = r.id AND o.attempt >= r.attempt AND o.status != 'interrupted')"
        )
        return [(run, attempt, json.loads(identity)) for run, attempt, identity in rows]

    def identities(self) -> dict[RunId, dict[str, Any]]:
        return {run: json.loads(text) for run, text in self._db.execute("SELECT id, identity FROM runs")}

    def record(self, experiment: str, card: str, tasks: str, command: str, used: str) -> None:
        """Notes an experiment: its resolved card and tasks as JSON, the command, when it was last used."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO experiments VALUES (?,?,?,?,?)", (experiment, card, tasks, command, used)
            )

    def experiments(self) -> list[tuple[str, str, str, str]]:
        """(id, card, tasks, command) of every experiment, the last used one first."""
        query = "SELECT id, card, tasks, command FROM experiments ORDER BY used DESC, rowid DESC"
        return self._db.execute(query).fetchall()

    def enlist(self, experiment: str, members: Mapping[RunId, tuple[int, Cell, bool, bool]]) -> None:
        """Notes the runs of an experiment: by run its attempt, cell, whether its rate was chosen and on the edge."""
        rows = [
            (experiment, run, a, json.dumps(cell), chosen, edge) for run, (a, cell, chosen, edge) in members.items()
        ]
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO members VALUES (?,?,?,?,?,?)", rows)

    def members(self, experiment: str) -> dict[RunId, tuple[Cell, bool, bool]]:
        """The runs of an experiment: cell, chosen, edge."""
        query = "SELECT run, cell, chosen, edge FROM members WHERE experiment = ? ORDER BY rowid"
        return {
            run: (_cell(json.loads(cell)), bool(chosen), bool(edge))
            for run, cell, chosen, edge in self._db.execute(query, (experiment,))
        }

    def drop_weights(self, runs: Iterable[tuple[RunId, int]]) -> None:
        """Forgets and deletes the weight files of these runs; the rows go first, so that no row names a lost file."""
        names = []
        with self._writing() as db:
            for run, attempt in runs:
                names += db.execute("SELECT weights FROM runs WHERE id = ? AND attempt = ?", (run, attempt)).fetchone()
                db.execute(
                    "UPDATE runs SET weights = NULL, weights_size = NULL, weights_sha256 = NULL "
                    "WHERE id = ? AND attempt = ?", (run, attempt),
                )  # fmt: skip
        for name in filter(None, names):
            (self.weights / name).unlink(missing_ok=True)


def _cell(fields: list[Any]) -> Cell:
    task, stage, base, optimizer, update, decay = fields
    return Cell(task, stage, tuple(base), optimizer, update, decay)
