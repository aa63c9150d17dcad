"""The database file of a folder of results: created complete, opened with checks, its errors as sentences."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from synthbench.common.errors import BadInput, Failed, SynthbenchError, is_disk_failure
from synthbench.common.files import is_file, put_new
from synthbench.common.wording import named
from synthbench.store.filesystems import network

APPLICATION_ID = 0x53594E42  # "SYNB"
VERSION = 5
DATABASE = "results.db"
PATIENCE = 60.0  # seconds to wait for another process's transaction
WAIT = 0.2  # seconds that SQLite itself waits: it does so in C, and no signal is acted on meanwhile
ADVICE = {4: "bring it up to date with `synthbench merge FOLDER -o NEW`, or "}  # by format
UNUSABLE = "put back a copy of it, or move it and its -wal away and its runs will be trained again"
MENDED = "the `synthbench run` that made it trains what is lost again"

Row = tuple[Any, ...]


def seal(*values: Any) -> str:
    """A checksum of values as SQLite gives them back: SQLite itself does not notice a flipped bit in a value."""
    return sha256(repr(values).encode()).hexdigest()[:32]


class Database:
    """A connection. Raises BadInput where the file is not ours, damaged or not allowed; Failed where the disk fails."""

    schema: str
    read_first: Sequence[str]  # the tables that every reader reads

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        self.folder, self._connection, self._read_only = folder, connection, read_only
        self.stop: Callable[[], bool] = lambda: False  # whether waiting for another process is to end

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Opens the database of a folder for writing; makes both where they are absent."""
        try:
            if (kind := network(folder)) is not None:
                raise BadInput(
                    f"--out {named(folder)} is on a network file system ({kind}), where results could be damaged; "
                    "choose a local folder."
                )
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / DATABASE).exists():
                _make(folder, cls.schema)
        except OSError as error:
            raise _of_disk(folder, error) from None
        # a check before writing: closing a writer merges the log, valid or not
        cls._open_read_only(folder, is_whole=True).close()
        with sentences(folder):
            return cls(folder, connect(folder, "rw"), read_only=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Opens the database of a folder read-only."""
        if not is_file(folder / DATABASE):
            raise BadInput(
                f"--out {named(folder)}: there are no results; make some with: synthbench run --out {named(folder)}"
            )
        return cls._open_read_only(folder)

    @classmethod
    def _open_read_only(cls, folder: Path, *, is_whole: bool = False) -> Self:
        with sentences(folder):
            database = cls(folder, connect(folder, "ro"), read_only=True)
            try:
                try:
                    database._connection.execute("SELECT count(*) FROM sqlite_master")
                except sqlite3.OperationalError:  # SQLite cannot make the files of a log beside it: it is read without
                    log = (folder / f"{DATABASE}-wal").resolve()
                    if log.exists() and log.stat().st_size:
                        raise
                    database.close()
                    database._connection = connect(folder, "ro&immutable=1")
                database._check(is_whole=is_whole)
            except BaseException:
                database.close()
                raise
            return database

    def _check(self, *, is_whole: bool) -> None:
        """Raises BadInput unless the file is a valid database of ours. is_whole: whether all of it is checked, or only
        `read_first`: in a large file the rest takes seconds, and rows have checksums."""
        ((application,),) = self.rows("PRAGMA application_id")
        ((version,),) = self.rows("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise _foreign(self.folder)
        if version != VERSION:
            raise BadInput(
                f"--out {named(self.folder)}: {DATABASE} has format {version}, this synthbench reads format {VERSION}; "
                f"{ADVICE.get(version, 'update synthbench or ' if version > VERSION else '')}choose another folder."
            )
        for part in ("1",) if is_whole else self.read_first:
            if (problems := self.rows(f"PRAGMA integrity_check({part})")) != [("ok",)]:
                raise damaged(self.folder, str(problems[0][0]))

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: str, values: Row = ()) -> list[Row]:
        with sentences(self.folder):
            return self._patiently(query, values).fetchall()

    def each(self, query: str, values: Row = ()) -> Iterator[Row]:
        """The same one by one: of many, not all are in memory."""
        with sentences(self.folder):
            yield from self._patiently(query, values)

    def _patiently(self, query: str, values: Row = ()) -> sqlite3.Cursor:
        """Executes a statement, waiting for other processes; raises KeyboardInterrupt where `stop` ends the wait."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._connection.execute(query, values)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            if self.stop():
                raise KeyboardInterrupt

    def compact(self) -> None:
        """Frees the disk space of deleted rows."""
        self.rows("VACUUM")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads within see one state, whatever other processes write."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.rows("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is written, or nothing."""
        with sentences(self.folder):
            try:
                self._patiently("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise


def _foreign(folder: Path) -> BadInput:
    return BadInput(
        f"--out {named(folder)}: {DATABASE} is not a results file of synthbench, or damaged; choose another folder, or "
        "put back a copy of it."
    )


def damaged(folder: Path, what: str, advice: str = UNUSABLE) -> BadInput:
    what = what.splitlines()[-1][:100]
    return BadInput(f"--out {named(folder)}: {DATABASE} is damaged ({what}); {advice}.")


def connect(folder: Path, mode: str) -> sqlite3.Connection:
    address = (folder / DATABASE).resolve().as_uri() + f"?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None)


def _make(folder: Path, schema: str) -> None:
    """Makes an empty database under another name, then renames it: it is complete or absent, whoever else makes one."""
    temporary = folder / f".new-{uuid4().hex}.db"
    try:
        with sentences(folder):
            connection = sqlite3.connect(temporary, isolation_level=None)
            connection.execute("BEGIN")
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")  # last: closing does not say that moving a log failed
            connection.close()
        with suppress(FileExistsError):  # another process was first
            put_new(temporary, folder / DATABASE)
    finally:
        for left in folder.glob(f"{temporary.name}*"):
            left.unlink(missing_ok=True)


def _of_disk(folder: Path, error: OSError) -> SynthbenchError:
    if is_disk_failure(error):
        return Failed(
            f"--out {named(folder)} could not be written ({error.strerror}); make room and rerun the command."
        )
    return BadInput(
        f"--out {named(folder)}: results cannot be written there ({error.strerror}); choose another folder."
    )


def _is_allowed(folder: Path) -> bool:
    """Whether permissions allow to write a database there: if so and SQLite cannot, the disk fails."""
    file = folder / DATABASE
    return os.access(folder, os.W_OK) and (not file.exists() or (file.is_file() and os.access(file, os.R_OK | os.W_OK)))


@contextmanager
def sentences(folder: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours. Error codes: https://www.sqlite.org/rescode.html"""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.NotSupportedError):
        raise  # our own mistake
    except UnicodeDecodeError:  # of SQLite's message, which shows what it could not read
        raise damaged(folder, "its tables cannot be read") from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        refused = code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or (refused and _is_allowed(folder)):
            raise Failed(
                f"--out {named(folder)}: {DATABASE} could not be read or written ({error}); finished runs are kept, "
                "make room and rerun the command."
            ) from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Failed(
                f"--out {named(folder)}: {DATABASE} was held by another process for {PATIENCE:.0f} s; rerun the command."
            ) from None
        if refused:
            raise BadInput(
                f"--out {named(folder)}: {DATABASE} cannot be opened ({error}); choose another folder."
            ) from None
        if code == sqlite3.SQLITE_NOTADB:
            raise _foreign(folder) from None
        raise damaged(folder, str(error)) from None
