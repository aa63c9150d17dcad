"""Tables of numbers as bytes: a line of JSON that says what they are, then the numbers as little-endian float64."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.experiment.readings import Readings, Wanted
from synthbench.experiment.runs import Scores
from synthbench.scores.reading import Reached

NUMBERS = np.dtype("<f8")


def path_to_bytes(path: Mapping[int, Scores]) -> bytes:
    """A path: a row for each step, a column for each score; NaN where there is none."""
    steps, names = sorted(path), sorted({name for scores in path.values() for name in scores})
    rows = [[path[step].get(name, np.nan) for name in names] for step in steps]
    return _to_bytes({"steps": steps, "names": names}, np.array(rows))


def path_from_bytes(content: bytes) -> dict[int, dict[str, float]]:
    head, numbers = _from_bytes(content)
    rows = numbers.reshape(len(head["steps"]), len(head["names"])).tolist()
    return {
        step: {name: value for name, value in zip(head["names"], row, strict=True) if value == value}
        for step, row in zip(head["steps"], rows, strict=True)
    }


def readings_to_bytes(readings: Readings, source: str) -> bytes:
    """source: hash of the code that they were computed by."""
    of, names, steps_L, at_levels_LS, at_target_S, has_fit, rule = readings
    head = {"of": list(of), "source": source, "names": list(names), "has_fit": has_fit, "rule": rule and rule.censored}
    found = np.array([rule.value if rule else np.nan])
    return _to_bytes(head, np.concatenate([found, steps_L, at_target_S, at_levels_LS.ravel()]))


def readings_from_bytes(content: bytes, source: str) -> Readings | None:
    """None where they were computed by other code."""
    text, _, rest = content.partition(b"\n")
    head, numbers = _head_of_readings(text), np.frombuffer(rest, NUMBERS)
    if head.source != source:
        return None
    levels, count = len(head.of.levels), len(head.names)
    rule = None if head.rule is None else Reached(float(numbers[0]), head.rule)
    end = 1 + levels
    steps_L, at_target_S, at_levels = numbers[1:end], numbers[end : end + count], numbers[end + count :]
    return Readings(head.of, head.names, steps_L, at_levels.reshape(levels, count), at_target_S, head.has_fit, rule)


def wanted_of(content: bytes) -> Wanted | None:
    """What readings are of; None where there are none."""
    return Wanted(*_from_bytes(content)[0]["of"]) if content else None


class _HeadOfReadings(NamedTuple):
    """See `readings_to_bytes`."""

    of: Wanted
    source: str
    names: tuple[str, ...]
    has_fit: bool
    rule: str | None


@lru_cache(4096)
def _head_of_readings(text: bytes) -> _HeadOfReadings:
    """The same objects for all runs of which the same is said."""
    head: dict[str, Any] = json.loads(text)
    return _HeadOfReadings(**head | {"of": Wanted(*head["of"]), "names": tuple(head["names"])})


def _to_bytes(head: Mapping[str, Any], numbers: NDArray[np.float64]) -> bytes:
    return json.dumps(head).encode() + b"\n" + (numbers + 0.0).astype(NUMBERS).tobytes()  # + 0.0: no -0.0, as in SQLite


def _from_bytes(content: bytes) -> tuple[dict[str, Any], NDArray[np.float64]]:
    head, _, numbers = content.partition(b"\n")
    return _head(head), np.frombuffer(numbers, NUMBERS)


@lru_cache(4096)
def _head(text: bytes) -> dict[str, Any]:
    """What is said of numbers; the same for most runs of a study."""
    head: dict[str, Any] = json.loads(text)
    return head
