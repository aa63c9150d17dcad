"""Writes a folder of results as format 4 had it: a row for each score."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from synthbench.store.arrays import path_from_bytes
from synthbench.store.database import DATABASE, seal

TABLES = """
CREATE TABLE runs (
  id TEXT, attempt INTEGER, identity TEXT NOT NULL, status TEXT NOT NULL, fleet_size INTEGER, seconds REAL, started TEXT,
  device TEXT, versions TEXT, scores_source TEXT, path_seal TEXT, seal TEXT NOT NULL, PRIMARY KEY (id, attempt));
CREATE TABLE scores (
  run TEXT, attempt INTEGER, step INTEGER, sampled INTEGER, name TEXT, value REAL,
  PRIMARY KEY (run, attempt, step, sampled, name)) WITHOUT ROWID;
CREATE TABLE curves (run TEXT, attempt INTEGER, losses TEXT, PRIMARY KEY (run, attempt))
"""
SELECTED = """
SELECT id, new_runs.attempt, identity, status, fleet_size, seconds, started, device, versions, scores_source, scores, steps,
content, losses FROM new_runs JOIN paths ON run = id AND paths.attempt = new_runs.attempt
"""


def rewrite(folder: Path) -> None:
    """Turns a folder of the present format into one of format 4."""
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("ALTER TABLE runs RENAME TO new_runs")
        for statement in TABLES.split(";"):
            db.execute(statement)
        for *row, scores, steps, content, losses in db.execute(SELECTED).fetchall():
            key, row[2] = row[:2], json.dumps(json.loads(row[2]), sort_keys=True)
            values = [
                (step, *point)
                for step, of_step in path_from_bytes(content).items()
                for point in sorted(of_step.items())
            ]
            ends = sorted(json.loads(scores).items())
            row = [*row, seal(values, (losses,))]
            db.execute(f"INSERT INTO runs VALUES ({'?,' * 11}?)", (*row, seal(*row, ends)))
            db.executemany("INSERT INTO scores VALUES (?,?,?,1,?,?)", [(*key, *value) for value in values])
            db.executemany("INSERT INTO scores VALUES (?,?,?,0,?,?)", [(*key, steps, *value) for value in ends])
            db.execute("INSERT INTO curves VALUES (?,?,?)", (*key, losses))
        db.execute("DROP TABLE new_runs")
        db.execute("DROP TABLE paths")
        db.execute("PRAGMA user_version = 4")
        db.execute("COMMIT")
