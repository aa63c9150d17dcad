"""Stored readings are the numbers of `scores/reading.py`, bit for bit."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.experiment.readings import Wanted, read
from synthbench.scores.reading import Path, at_step, crossing, first_reaching
from synthbench.store.arrays import path_from_bytes, path_to_bytes, readings_from_bytes, readings_to_bytes, wanted_of

NAMES = ("fit", "rule_accuracy", "forgetting")
POINTS = st.dictionaries(st.sampled_from(NAMES), st.floats(-1, 1), max_size=3)
PATHS = st.dictionaries(st.integers(0, 40), POINTS | st.fixed_dictionaries(dict.fromkeys(NAMES, st.floats(0, 1))))
WANTED = st.builds(
    Wanted, st.sampled_from([0.5, 0.85, 0.9]), st.sampled_from(NAMES[:2]), st.floats(0.5, 50), st.floats(0, 1)
)


def same(one: float, other: float) -> bool:
    return one == other or (isnan(one) and isnan(other))


@given(PATHS, WANTED)
@settings(max_examples=200)
def test_readings_of_a_path(path: Path, of: Wanted) -> None:
    readings = read(path, of)
    assert readings.has_fit is any(of.fit_of in scores for scores in path.values())
    assert readings.step_to_fit == crossing(path, of.fit, of.fit_of)
    for level, step in zip(of.levels, readings.steps_L, strict=True):
        assert same(step, nan if (found := crossing(path, level, of.fit_of)) is None else found)
    for name in readings.names:
        assert same(readings.at_target[name], at_step(path, name, of.target_step))
    assert readings.rule == first_reaching({step: s.get("rule_accuracy", nan) for step, s in path.items()}, of.rule)


@given(PATHS, WANTED)
@settings(max_examples=100)
def test_paths_and_readings_as_bytes(path: Path, of: Wanted) -> None:
    assert path_from_bytes(path_to_bytes(path)) == {step: path[step] for step in sorted(path)}
    readings = read(path, of)
    content = readings_to_bytes(readings, "source")
    again = readings_from_bytes(content, "source")
    assert again is not None
    for one, other in zip(readings, again, strict=True):
        assert np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else one == other
    assert readings_from_bytes(content, "other code") is None
    assert wanted_of(content) == of
    assert wanted_of(b"") is None
