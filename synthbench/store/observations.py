"""Observations of a run as bytes: about 50 KB, from which every score can be computed again.

A numpy archive without pickle: a JSON head, and the items of all points one after the other. Losses are stored as the
float32 that they were computed in, so nothing is rounded. Another format is another VERSION in `database.py`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.scores import Observations, Point, RunObservations

COLUMNS = {"correct_N": np.bool_, "by_rule_N": np.bool_, "nll_N": np.float32, "kl_N": np.float32}


def to_bytes(run: RunObservations) -> bytes:
    points: dict[str, Point] = {"start": run.start, **{str(step): point for step, point in run.path.items()}}
    points |= {"end": run.end, "relearned": run.relearned}
    full = {name: items for point in (run.start, run.end, run.relearned) for name, items in point.sets.items()}
    head = {
        "sample": run.sample,
        "steps": run.steps,
        "sets": {name: [o.tokens, o.floor, len(o.entropy_N), len(o.bucket_N)] for name, o in full.items()},
        "points": [
            [when, dict(p.moved), p.parameters, [[name, len(o.nll_N), len(o.kl_N)] for name, o in p.sets.items()]]
            for when, p in points.items()
        ],
    }
    arrays = {
        "entropy_N": _joined([items.entropy_N for items in full.values()]),
        "bucket_N": _joined([items.bucket_N for items in full.values()]).astype(np.int8),
    }
    for column, kind in COLUMNS.items():
        values = _joined([getattr(items, column) for point in points.values() for items in point.sets.values()])
        arrays[column] = np.packbits(values.astype(bool)) if kind is np.bool_ else values.astype(kind)
    file = io.BytesIO()
    np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(content: bytes) -> RunObservations:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    head = json.loads(arrays["head"].tobytes())
    entropy_N, bucket_N = _Column(arrays["entropy_N"]), _Column(arrays["bucket_N"])
    sets = {
        name: (tokens, floor, entropy_N.take(items), bucket_N.take(bucketed))
        for name, (tokens, floor, items, bucketed) in head["sets"].items()
    }
    columns = {
        column: _Column(
            np.unpackbits(arrays[column]).astype(bool) if kind is np.bool_ else arrays[column].astype(float)
        )
        for column, kind in COLUMNS.items()
    }
    points = dict(_points(head["points"], sets, columns))
    start, end, relearned = points.pop("start"), points.pop("end"), points.pop("relearned")
    path = {int(step): point for step, point in points.items()}
    return RunObservations(start, path, end, head["sample"], head["steps"], relearned)


class _Column:
    """Values that are taken from the front, so many at a time."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values, self._taken = values, 0

    def take(self, count: int) -> NDArray[Any]:
        self._taken += count
        return self._values[self._taken - count : self._taken]


def _points(listed: list[Any], sets: dict[str, Any], columns: dict[str, _Column]) -> Iterator[tuple[str, Point]]:
    for when, moved, parameters, counts in listed:
        of_point: dict[str, Observations] = {}
        for name, items, with_kl in counts:
            tokens, floor, entropy_N, bucket_N = sets[name]
            values = {column: taken.take(with_kl if column == "kl_N" else items) for column, taken in columns.items()}
            of_point[name] = Observations(
                **values, entropy_N=entropy_N[:items], tokens=tokens, floor=floor, bucket_N=bucket_N[:items]
            )
        yield when, Point(of_point, moved, parameters)


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0)
