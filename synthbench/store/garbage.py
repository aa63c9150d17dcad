"""Garbage in a folder of results: attempts that `--fresh` replaced, runs that never finished, files that no row names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from synthbench.common.errors import BadInput, Failed
from synthbench.common.files import TEMPORARY
from synthbench.common.wording import named
from synthbench.experiment.runs import RunId
from synthbench.store.locks import is_locked
from synthbench.store.results import Store

QUERY = """
SELECT id, attempt, status FROM runs r
WHERE r.status = 'interrupted'
  OR NOT EXISTS (SELECT 1 FROM members m WHERE m.run = r.id AND m.attempt = r.attempt) ORDER BY started, id, attempt
"""
MEMBERLESS = "DELETE FROM members WHERE run = ? AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = members.run)"
TABLES = {"runs": "id", "paths": "run", "observations": "run", "weights": "run"}


class Unused(NamedTuple):
    """runs: id, attempt and status. files: below the folder of results, with their sizes in bytes."""

    runs: list[tuple[RunId, int, str]]
    files: dict[Path, int]


def unused(store: Store) -> Unused:
    """What could be deleted; raises Failed while a process is at work in the folder."""
    owners = [file for file in (store.folder / "owners").glob("*") if file.is_file()]
    if any(map(is_locked, owners)):
        raise Failed(f"--out {named(store.folder)}: another process is at work there; wait until it ends.")
    runs = store.rows(QUERY)
    gone = {row[:2] for row in runs}
    rows = store.rows("SELECT run, attempt, name FROM weights")
    kept = {name for run, attempt, name in rows if (run, attempt) not in gone}
    files = [file for file in store.weights.glob("*.safetensors*") if file.name not in kept]
    files += [*store.weights.glob(f".*{TEMPORARY}"), *owners, *store.folder.glob(".new-*.db*")]
    return Unused(runs, {file: file.stat().st_size for file in sorted({*files}) if file.exists()})


def delete(store: Store) -> Unused:
    """Finds garbage again, with the database locked so that no run can finish meanwhile, and deletes it."""
    with store.writing() as db:
        garbage = unused(store)
        for table, column in TABLES.items():
            db.executemany(f"DELETE FROM {table} WHERE {column} = ? AND attempt = ?", [row[:2] for row in garbage.runs])
        db.executemany(MEMBERLESS, [row[:1] for row in garbage.runs])
        for file in garbage.files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise BadInput(f"{named(file)} cannot be deleted ({error.strerror}).") from None
    with suppress(Failed):  # a copy of the database may not fit on a full disk
        store.compact()
    return garbage
