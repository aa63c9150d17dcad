"""Leases: which process trains which run, so that several on one folder share the work and no run is trained twice.

An owner is a file under `owners/` that its process keeps locked: the kernel releases the lock when the process ends,
however it ends; no clock or process number is needed. The leases of an owner that holds its lock but has not increased
its beat for SILENCE (a stopped process, a machine that hangs) may be taken too.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from synthbench.experiment.runs import Run, RunId
from synthbench.store.locks import is_locked
from synthbench.store.results import Store

SILENCE = 60.0  # seconds without a beat after which an owner's leases may be taken
BEAT = 5.0  # seconds between beats


class Leases:
    """The leases of this process in a store."""

    def __init__(self, store: Store, silence: float = SILENCE) -> None:
        self.store, self._silence = store, silence
        self._beats = dict[
            tuple[RunId, str], tuple[int, float]
        ]()  # by lease: its last beat, and when it was first read
        self._last = time.monotonic()
        self.owner = uuid4().hex
        self._file = self._appear()

    @property
    def _folder(self) -> Path:
        return self.store.folder / "owners"

    def _appear(self) -> int:
        """Makes this owner's file, which is locked before it gets its name: nobody ever sees it unlocked."""
        self._folder.mkdir(exist_ok=True)
        for left in self._folder.glob("[!.]*"):
            if not is_locked(left):
                left.unlink(missing_ok=True)
        temporary = self._folder / f".{self.owner}"
        handle = os.open(temporary, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            temporary.rename(self._folder / self.owner)
        except OSError:
            temporary.unlink(missing_ok=True)
            os.close(handle)
            raise
        return handle

    def take(self, pick: Callable[[set[RunId]], list[Run]]) -> list[Run]:
        """Leases the runs that `pick` chooses, given those that other processes train, and returns them."""
        with self.store.writing() as db:
            rows = db.execute("SELECT run, owner, beat FROM leases WHERE owner != ?", (self.owner,)).fetchall()
            fleet = pick({run for run, owner, beat in rows if self._lives(run, owner, beat)})
            db.executemany("INSERT OR REPLACE INTO leases VALUES (?,?,0)", [(run.id, self.owner) for run in fleet])
        return fleet

    def beat(self) -> None:
        """Increases this owner's beat, every few seconds."""
        if time.monotonic() - self._last > BEAT:
            self._last = time.monotonic()
            with self.store.writing() as db:
                db.execute("UPDATE leases SET beat = beat + 1 WHERE owner = ?", (self.owner,))

    def release(self, runs: Iterable[RunId]) -> None:
        """Gives up leases."""
        with self.store.writing() as db:
            db.executemany("DELETE FROM leases WHERE run = ? AND owner = ?", [(run, self.owner) for run in runs])

    def close(self) -> None:
        """Gives up every lease, without waiting for the database: a lease that stays has a dead owner."""
        self.store.stop = lambda: True
        with suppress(Exception, KeyboardInterrupt), self.store.writing() as db:
            db.execute("DELETE FROM leases WHERE owner = ?", (self.owner,))
        self.store.stop = lambda: False
        with suppress(OSError):
            (self._folder / self.owner).unlink(missing_ok=True)
        os.close(self._file)

    def is_alone(self) -> bool:
        """Whether no other process is at work in the folder."""
        return not any(is_locked(file) for file in self._folder.glob("[!.]*") if file.name != self.owner)

    def _lives(self, run: RunId, owner: str, beat: int) -> bool:
        if not re.fullmatch("[0-9a-f]{32}", str(owner)) or not is_locked(self._folder / owner):
            return False
        known, since = self._beats.get((run, owner), (-1, 0.0))
        if known != beat:
            self._beats[run, owner] = beat, time.monotonic()
            return True
        return time.monotonic() - since < self._silence
