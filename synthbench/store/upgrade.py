"""Folders of results of format 4, brought to the present one: scores and paths were a row each, without readings."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from synthbench.cards import RunnerCard
from synthbench.cards.base import canonical
from synthbench.common.errors import Failed
from synthbench.common.wording import named
from synthbench.experiment.readings import Wanted, read, wanted
from synthbench.experiment.runs import Result, RunId
from synthbench.store.database import APPLICATION_ID, VERSION, connect, seal, sentences
from synthbench.store.locks import is_locked
from synthbench.store.run_rows import is_sealed, put_run

OLD = 4
TABLES = ("runs", "paths")  # what is new in the present format
ENDS = "SELECT name, value FROM scores WHERE run = ? AND attempt = ? AND sampled = 0 ORDER BY name"
PATH = "SELECT step, name, value FROM scores WHERE run = ? AND attempt = ? AND sampled = 1 ORDER BY step, name"


def format_of(folder: Path) -> int | None:
    """The format of a folder's database, None where it is not ours."""
    try:
        with closing(connect(folder, "ro")) as db:
            ((application,),) = db.execute("PRAGMA application_id").fetchall()
            ((version,),) = db.execute("PRAGMA user_version").fetchall()
    except sqlite3.Error:
        return None
    return int(version) if application == APPLICATION_ID else None


def upgrade(folder: Path, schema: str) -> None:
    """Brings the database of a folder from format 4 to the present one: the whole, or nothing of it. Runs that do not match
    their checksums are left out; they count as lost. Raises Failed while a process is at work in the folder."""
    if format_of(folder) != OLD:
        return
    if any(map(is_locked, (folder / "owners").glob("[!.]*"))):
        raise Failed(f"--out {named(folder)}: a process of an older synthbench is at work there; wait until it ends.")
    with sentences(folder), closing(connect(folder, "rw")) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.execute("PRAGMA user_version").fetchone() == (OLD,):
                _rewrite(db, schema)
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def _rewrite(db: sqlite3.Connection, schema: str) -> None:
    db.execute("ALTER TABLE runs RENAME TO old_runs")
    for statement in schema.split(";"):
        if statement.split("(")[0].split()[-1] in TABLES:
            db.execute(statement)
    of = _wanted(db)
    columns = "identity, status, fleet_size, seconds, started, device, versions, scores_source, path_seal, seal"
    for row in db.execute(f"SELECT id, attempt, {columns} FROM old_runs"):
        run, attempt, text, status, fleet_size, seconds, started, device, versions, source, path_seal, run_seal = row
        ends, values = (db.execute(query, (run, attempt)).fetchall() for query in (ENDS, PATH))
        curve = db.execute("SELECT losses FROM curves WHERE run = ? AND attempt = ?", (run, attempt)).fetchall()
        if run_seal != seal(*row[:-1], ends) or path_seal != seal(values, *curve):
            continue
        path: dict[int, dict[str, float]] = {}
        for step, name, value in values:
            path.setdefault(step, {})[name] = value
        readings = read(path, of[run]) if run in of and status == "ok" else None
        result = Result(
            run, status, dict(ends), path, attempt, None, fleet_size, seconds, started, device, json.loads(versions),
            readings,
        )  # fmt: skip
        put_run(db, result, canonical(json.loads(text)), curve[0][0], source)
    for table in ("old_runs", "scores", "curves"):
        db.execute(f"DROP TABLE {table}")


def _wanted(db: sqlite3.Connection) -> dict[RunId, Wanted]:
    """What cards read of the paths of runs; of a run that several read, what most of its cells do."""
    counted: dict[RunId, Counter[Wanted]] = {}
    cards = filter(is_sealed, db.execute("SELECT id, card, tasks, command, used, finished, seal FROM experiments"))
    for experiment, card in [(row[0], RunnerCard.model_validate_json(row[1])) for row in cards]:
        members = db.execute(
            "SELECT experiment, run, attempt, cell, seal FROM members WHERE experiment = ?", (experiment,)
        )
        for _, run, _, cell, _ in filter(is_sealed, members):
            fields: list[Any] = json.loads(cell)
            if fields[1] == card.stages[-1].name:
                counted.setdefault(run, Counter())[wanted(card.reading, fields[6])] += 1
    return {run: counts.most_common(1)[0][0] for run, counts in counted.items()}
