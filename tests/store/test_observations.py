"""What was seen of a run comes back from its bytes exactly, and so do its scores."""

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
ODD = np.array([np.nan, np.inf, -0.0, 1e-45, 3.4e38], dtype=np.float32)  # what a diverging run shows


@st.composite
def made(draw: st.DrawFn) -> RunObservations:
    """A run, sound at its start: its sets seen in full at its end, on the way on a sample, of the new ones at first too;
    perhaps with buckets, perhaps relearned."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))  # many values: hypothesis would draw them one by one
    sizes = {name: draw(st.integers(1, 20)) for name in (*NAMES, *PROBE)}
    sample, steps, odd = draw(st.integers(1, 12)), draw(st.integers(4, 9)), draw(st.sampled_from([0.0, 0.1]))
    has_kl, has_buckets, is_relearned = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    parameters = draw(st.integers(0, 2**40))
    entropy = {name: chance.uniform(0, 50, size) for name, size in sizes.items()}
    bucketed = {"new/fact/train"} if has_buckets else set()
    bucket = {
        name: chance.integers(1, 4, size if name in bucketed else 0, dtype=np.int8) for name, size in sizes.items()
    }

    def losses(size: int, odd: float) -> Floats:
        values = chance.exponential(5, size).astype(np.float32)
        return np.where(chance.random(size) < odd, chance.choice(ODD, size), values).astype(np.float64)

    def look(whole: tuple[str, ...], sampled: tuple[str, ...], odd: float) -> Point:
        sets = {}
        for name in (*whole, *sampled):
            size = sizes[name] if name in whole else min(sample, sizes[name])
            kl = min(size, sample) if has_kl and name == KL_SET else 0
            sets[name] = Observations(
                chance.random(size) < 0.5, chance.random(size) < 0.5, losses(size, odd), losses(kl, odd),
                entropy[name][:size], 1 + len(name) % 3, 1 / len(name), bucket[name][:size],
            )  # fmt: skip
        return Point(sets, dict(zip(("hidden", "größe"), losses(2, odd).tolist(), strict=True)), parameters)

    on_the_way = tuple(name for name in NAMES if not name.endswith("/validation"))
    old = tuple(name for name in NAMES if name.startswith("old/"))
    path = {step: look((), on_the_way, odd) for step in sorted(draw(st.sets(st.integers(1, steps - 1))))}
    start = look(old, tuple(name for name in on_the_way if name not in old), 0.0)
    relearned = look(PROBE, (), odd)._replace(moved={}) if is_relearned else Point({}, {})
    return RunObservations(start, path, look(NAMES, (), odd), sample, steps, relearned)


def bits(value: Any) -> Any:
    """All of a value that can be told apart, NaNs and zeros' signs included."""
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, Observations):
        return {name: bits(part) for name, part in vars(value).items()}
    if isinstance(value, dict):
        return [(key, bits(part)) for key, part in value.items()]
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


@given(made())
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities less infinities
def test_what_was_seen_its_bytes_and_its_scores_come_back_bit_for_bit_in_order(seen: RunObservations) -> None:
    written = to_bytes(seen)
    back = from_bytes(written)
    assert bits(back) == bits(seen)
    assert to_bytes(back) == written
    assert bits(run_scores(back)) == bits(run_scores(seen))
    # named apart: a reader of older bytes could leave them out of everything above
    assert back.relearned.sets.keys() == seen.relearned.sets.keys()
    assert back.end.parameters == seen.end.parameters
    for one, other in ((back.end, seen.end), *((back.path[step], seen.path[step]) for step in seen.path)):
        facts = other.sets["new/fact/train"]
        assert np.array_equal(one.sets["new/fact/train"].bucket_N, facts.bucket_N)
        assert len(facts.bucket_N) in (0, len(facts.nll_N))
