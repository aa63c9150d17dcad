"""The observations of a run round-trip through bytes exactly, and so do its scores."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.scores import Observations, Point, RunObservations, run_scores
from synthbench.scores.observations import Floats
from synthbench.store.observations import from_bytes, to_bytes

NAMES = ("new/fact/train", "new/rule/train", "new/rule/validation", "new/rule/test", "old/fact/train", "old/rule/test")
PROBE = ("other/before", "other/after", "control/before", "control/after")
KL_SET = "new/rule/test"
EXTREME = np.array([np.nan, np.inf, -0.0, 1e-45, 3.4e38], dtype=np.float32)  # as in a diverging run


@st.composite
def run_observations(draw: st.DrawFn) -> RunObservations:
    """A run that is finite at its start. Sets are evaluated in full at its end and on samples of two sizes on the path; the
    start evaluates the old sets in full and the new ones on the larger sample. Buckets and relearning are optional."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))  # hypothesis is slow at drawing many values
    sizes = {name: draw(st.integers(1, 20)) for name in (*NAMES, *PROBE)}
    sample, steps, extreme_share = draw(st.integers(1, 12)), draw(st.integers(4, 9)), draw(st.sampled_from([0.0, 0.1]))
    has_kl, has_buckets, is_relearned = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    parameters = draw(st.integers(0, 2**40))
    entropy = {name: rng.uniform(0, 50, size) for name, size in sizes.items()}
    bucketed = {"new/fact/train"} if has_buckets else set()
    bucket = {name: rng.integers(1, 4, size if name in bucketed else 0, dtype=np.int8) for name, size in sizes.items()}

    def losses(size: int, extreme_share: float) -> Floats:
        values = rng.exponential(5, size).astype(np.float32)
        return np.where(rng.random(size) < extreme_share, rng.choice(EXTREME, size), values).astype(np.float64)

    def point_of(full: tuple[str, ...], sampled: tuple[str, ...], extreme_share: float, sample: int = sample) -> Point:
        sets = {}
        for name in (*full, *sampled):
            size = sizes[name] if name in full else min(sample, sizes[name])
            kl = min(size, sample) if has_kl and name == KL_SET else 0
            sets[name] = Observations(
                rng.random(size) < 0.5, rng.random(size) < 0.5, losses(size, extreme_share), losses(kl, extreme_share),
                entropy[name][:size], 1 + len(name) % 3, 1 / len(name), bucket[name][:size],
            )  # fmt: skip
        return Point(sets, dict(zip(("hidden", "größe"), losses(2, extreme_share).tolist(), strict=True)), parameters)

    path_sets = tuple(name for name in NAMES if not name.endswith("/validation"))
    old = tuple(name for name in NAMES if name.startswith("old/"))
    larger = draw(st.sets(st.integers(1, steps - 1)))
    path = {
        step: point_of((), path_sets, extreme_share, sample if step in larger else max(1, sample // 3))
        for step in sorted(draw(st.sets(st.integers(1, steps - 1))))
    }
    start = point_of(old, tuple(name for name in path_sets if name not in old), 0.0)
    relearned = point_of(PROBE, (), extreme_share)._replace(moved={}) if is_relearned else Point({}, {})
    return RunObservations(start, path, point_of(NAMES, (), extreme_share), sample, steps, relearned)


def bits(value: Any) -> Any:
    """The bits of a value: NaNs compare equal, and zeros of different sign do not."""
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, Observations):
        return {name: bits(item) for name, item in vars(value).items()}
    if isinstance(value, dict):
        return [(key, bits(item)) for key, item in value.items()]
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


@given(run_observations())
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # inf - inf
def test_observations_and_their_scores_round_trip_bit_for_bit_and_in_order(original: RunObservations) -> None:
    written = to_bytes(original)
    restored = from_bytes(written)
    assert bits(restored) == bits(original)
    assert to_bytes(restored) == written
    assert bits(run_scores(restored)) == bits(run_scores(original))
    # tested separately: a reader of an older format could omit them from everything above
    assert restored.relearned.sets.keys() == original.relearned.sets.keys()
    assert restored.end.parameters == original.end.parameters
    points = [(original.end, restored.end)]
    points += [(original.path[step], restored.path[step]) for step in original.path]
    for before, after in points:
        facts = before.sets["new/fact/train"]
        assert np.array_equal(after.sets["new/fact/train"].bucket_N, facts.bucket_N)
        assert len(facts.bucket_N) in (0, len(facts.nll_N))
