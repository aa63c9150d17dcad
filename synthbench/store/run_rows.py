"""A run as rows: one sealed row with all that tables need, and its path, read when it is asked for.

runs.scores: JSON, at the end. runs.readings: see `arrays.py`; empty where no card reads the run's path. paths.content: the
path likewise; it and the losses match `path_seal`, which is sealed with the row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from sys import intern
from typing import Any, NamedTuple

from synthbench.cards.base import canonical
from synthbench.experiment import identity
from synthbench.experiment.runs import Result, RunId, Scores
from synthbench.store.arrays import path_from_bytes, path_to_bytes, readings_from_bytes, readings_to_bytes
from synthbench.store.database import Row, seal

COLUMNS = (
    "identity, status, steps, fleet_size, seconds, started, device, versions, scores, scores_source, readings, "
    "path_seal, seal"
)
READINGS = "experiment/readings.py"  # the code of readings, beside that of scores


class StoredPath(Mapping[int, Scores]):
    """A path in the store, which is read when it is first looked at."""

    __slots__ = ("_load", "_path")

    def __init__(self, load: Callable[[], Mapping[int, Scores]]) -> None:
        self._load = load
        self._path: Mapping[int, Scores] | None = None

    def _read(self) -> Mapping[int, Scores]:
        if self._path is None:
            self._path = self._load()
        return self._path

    def __getitem__(self, step: int) -> Scores:
        return self._read()[step]

    def __iter__(self) -> Iterator[int]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


class RunRow(NamedTuple):
    """A row of a run, as it was read."""

    id: RunId
    attempt: int
    identity: str
    status: str
    steps: int
    fleet_size: int
    seconds: float
    started: str
    device: str
    versions: str
    scores: str
    scores_source: str
    readings: bytes
    path_seal: str
    seal: str

    @property
    def is_valid(self) -> bool:
        """Whether the row matches its checksum, and the id is the hash of the identity."""
        *values, readings, path_seal, found = self
        digits = readings.hex() if isinstance(readings, bytes) else readings  # as in `quick_seal`
        return found == seal(*values, digits, path_seal) and hash_of(self.identity) == self.id

    def result(self, weights: str | None, path: Mapping[int, Scores]) -> Result:
        readings = readings_from_bytes(self.readings, readings_source()) if self.readings else None
        return Result(
            self.id, self.status, _scores(self.scores), path, self.attempt, weights, self.fleet_size,  # type: ignore[arg-type]
            self.seconds, self.started, self.device, _versions(self.versions), readings, self.steps,
        )  # fmt: skip


def put_run(
    db: sqlite3.Connection, result: Result, identity_text: str, losses: str, source: str | None = None
) -> None:  # fmt: skip
    """Writes a run with its path and readings, and the checksums of both. source: hash of the code that scored it, by
    default today's."""
    content = path_to_bytes(result.path)
    readings = readings_to_bytes(result.readings, readings_source()) if result.readings else b""
    row = (
        result.run, result.attempt, identity_text, result.status, max(result.path, default=0), result.fleet_size,
        result.seconds, result.started, result.device, json.dumps(dict(result.versions)),
        json.dumps(stored(result.scores), sort_keys=True), source or identity.scores_source(), readings,
        quick_seal(content, losses),
    )  # fmt: skip
    db.execute(f"INSERT OR REPLACE INTO runs VALUES ({'?,' * len(row)}?)", (*row, quick_seal(*row)))
    db.execute("INSERT OR REPLACE INTO paths VALUES (?,?,?,?)", (result.run, result.attempt, content, losses))


def path_of(content: Any, losses: Any, path_seal: str) -> dict[int, dict[str, float]] | None:
    """A path as it is stored, None where it does not match its checksum."""
    return path_from_bytes(content) if path_seal == quick_seal(content, losses) else None


def quick_seal(*values: Any) -> str:
    """`seal`, of bytes as digits: how Python would write them takes most of the time of reading a run."""
    return seal(*(value.hex() if isinstance(value, bytes) else value for value in values))


def put(db: sqlite3.Connection, table: str, *row: Any, other: str = "REPLACE") -> None:
    """Writes a row and its checksum. other: what becomes of one with its key."""
    db.execute(f"INSERT OR {other} INTO {table} VALUES ({'?,' * len(row)}?)", (*row, seal(*row)))


def is_sealed(row: Row) -> bool:
    """Whether a row matches the checksum in its last column."""
    return bool(row[-1] == seal(*row[:-1]))


def readings_source() -> str:
    return identity.source("scores", READINGS)


def stored(scores: Scores) -> dict[str, float]:
    """Scores as they are stored: -0.0 is 0."""
    return {name: value + 0.0 for name, value in scores.items()}


def hash_of(identity_text: Any) -> str:
    """The id of the run with an identity, which is stored as canonical JSON; empty where it is no text."""
    return sha256(identity_text.encode()).hexdigest() if isinstance(identity_text, str) else ""


def _scores(text: str) -> dict[str, float]:
    return {intern(name): value for name, value in json.loads(text).items()}  # the names once for all runs


@lru_cache(1024)
def _versions(text: str) -> dict[str, str]:
    versions: dict[str, str] = json.loads(text)
    return versions


# In canonical JSON keys are in order, so the values that runs of a cell differ in stand between these texts.
LR, PARENT, SEED = '"lr":', '"parent":', '"seed":'
MARKED = {"lr": "the rate", "parent": "the parent", "seed": "the seed"}


def settings(run: RunId, text: Any) -> dict[str, Any] | None:
    """A run's identity, if its id is the hash of it."""
    return settings_in(text) if hash_of(text) == run else None


def settings_in(text: str) -> dict[str, Any] | None:
    """A run's identity. What the runs of a cell have in common is read once and shared."""
    before, _, rest = text.partition(LR)
    lr, _, rest = rest.partition(",")
    to_parent, _, rest = rest.rpartition(PARENT)
    parent, _, rest = rest.partition(",")
    to_seed, _, rest = rest.rpartition(SEED)
    seed, _, end = rest.partition(",")
    if (common := _common(before, to_parent, to_seed, end)) is not None:
        return common | {"lr": _value(lr), "parent": _value(parent), "seed": _value(seed)}
    with suppress(ValueError, TypeError, RecursionError):
        content: dict[str, Any] = json.loads(text)
        return content
    return None


_value = lru_cache(65536)(json.loads)  # of few texts: runs share rates, seeds and parents


@lru_cache(65536)
def _common(before: str, to_parent: str, to_seed: str, end: str) -> dict[str, Any] | None:
    """The identity around the varying values; None where they are not those of its own keys."""
    lr, parent, seed = map(canonical, MARKED.values())
    text = f"{before}{LR}{lr},{to_parent}{PARENT}{parent},{to_seed}{SEED}{seed},{end}"
    with suppress(ValueError, TypeError, RecursionError):
        content: dict[str, Any] = json.loads(text)
        if {key: content.get(key) for key in MARKED} == MARKED:
            return content
    return None
