"""What was seen of a run as bytes, for the store: about 50 KB, from which every score can be computed again.

A numpy archive without pickle: a JSON head, and all looks' items one after the other. Losses are stored as the float32
that they were computed in, so nothing is rounded on the way. Another format is another VERSION in `database.py`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.scores import Observed, Point
from synthbench.scores.run_scores import Seen

COLUMNS = {"correct_N": np.bool_, "by_rule_N": np.bool_, "nll_N": np.float32, "kl_N": np.float32}


def to_bytes(seen: Seen) -> bytes:
    looks: dict[str, Point] = {"start": seen.start, **{str(step): look for step, look in seen.path.items()}}
    looks |= {"end": seen.end, "relearned": seen.relearned}
    whole = {name: one for look in (seen.start, seen.end, seen.relearned) for name, one in look.sets.items()}
    head = {
        "sample": seen.sample,
        "steps": seen.steps,
        "sets": {n: [one.tokens, one.floor, len(one.entropy_N), len(one.bucket_N)] for n, one in whole.items()},
        "looks": [
            [
                when,
                dict(look.moved),
                look.parameters,
                [[n, len(one.nll_N), len(one.kl_N)] for n, one in look.sets.items()],
            ]
            for when, look in looks.items()
        ],
    }
    parts = {
        "entropy_N": _joined([one.entropy_N for one in whole.values()]),
        "bucket_N": _joined([one.bucket_N for one in whole.values()]).astype(np.int8),
    }
    for column, kind in COLUMNS.items():
        values = _joined([getattr(one, column) for look in looks.values() for one in look.sets.values()])
        parts[column] = np.packbits(values.astype(bool)) if kind is np.bool_ else values.astype(kind)
    file = io.BytesIO()
    np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **parts)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(content: bytes) -> Seen:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        parts = dict(file)
    head = json.loads(parts["head"].tobytes())
    entropy_N, bucket_N = _Column(parts["entropy_N"]), _Column(parts["bucket_N"])
    sets = {
        name: (tokens, floor, entropy_N.take(items), bucket_N.take(bucketed))
        for name, (tokens, floor, items, bucketed) in head["sets"].items()
    }
    columns = {
        column: _Column(np.unpackbits(parts[column]).astype(bool) if kind is np.bool_ else parts[column].astype(float))
        for column, kind in COLUMNS.items()
    }
    looks = dict(_looks(head["looks"], sets, columns))
    start, end, relearned = looks.pop("start"), looks.pop("end"), looks.pop("relearned")
    path = {int(step): look for step, look in looks.items()}
    return Seen(start, path, end, head["sample"], head["steps"], relearned)


class _Column:
    """Values that are taken from the front, so many at a time."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values, self._taken = values, 0

    def take(self, count: int) -> NDArray[Any]:
        self._taken += count
        return self._values[self._taken - count : self._taken]


def _looks(listed: list[Any], sets: dict[str, Any], columns: dict[str, _Column]) -> Iterator[tuple[str, Point]]:
    for when, moved, parameters, counts in listed:
        found: dict[str, Observed] = {}
        for name, items, with_kl in counts:
            tokens, floor, entropy_N, bucket_N = sets[name]
            values = {column: taken.take(with_kl if column == "kl_N" else items) for column, taken in columns.items()}
            found[name] = Observed(
                **values, entropy_N=entropy_N[:items], tokens=tokens, floor=floor, bucket_N=bucket_N[:items]
            )
        yield when, Point(found, moved, parameters)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)
