"""What was seen of a run comes back from its bytes exactly, and so do its scores."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbench.experiment.recorded import from_bytes, to_bytes
from synthbench.scores import Observed, Point, Seen, scored

NAMES = ("new/fact/train", "new/rule/train", "new/rule/validation", "new/rule/test", "old/fact/train", "old/rule/test")
KL_SET = "new/rule/test"
losses = st.floats(width=32)  # NaN and infinities too: what a diverging run shows
groups = st.dictionaries(st.sampled_from(["hidden", "embedding", "größe"]), st.floats(), max_size=3)


@st.composite
def made(draw: st.DrawFn) -> Seen:
    """A run of some sets, seen in full at its end, on a sample on the way, and of the new data a sample at its start."""
    sizes = {name: draw(st.integers(1, 20)) for name in NAMES}
    about = {
        name: (draw(st.integers(1, 5)), draw(st.floats(0, 1)), draw(column(size, st.floats(0, 50))))
        for name, size in sizes.items()
    }
    sample, steps = draw(st.integers(1, 12)), draw(st.integers(4, 9))
    has_kl = draw(st.booleans())

    def look(whole: tuple[str, ...], sampled: tuple[str, ...]) -> Point:
        sets = {}
        for name in (*whole, *sampled):
            size = sizes[name] if name in whole else min(sample, sizes[name])
            kl = min(size, sample) if has_kl and name == KL_SET else 0
            tokens, floor, entropy_N = about[name]
            sets[name] = Observed(
                draw(column(size, st.booleans())).astype(bool), draw(column(size, st.booleans())).astype(bool),
                draw(column(size, losses)), draw(column(kl, losses)), entropy_N[:size], tokens, floor,
            )  # fmt: skip
        return Point(sets, draw(groups))

    on_the_way = tuple(name for name in NAMES if not name.endswith("/validation"))
    old = tuple(name for name in NAMES if name.startswith("old/"))
    path = {step: look((), on_the_way) for step in draw(st.sets(st.integers(1, steps - 1)))}
    start = look(old, tuple(name for name in on_the_way if name not in old))
    return Seen(start, path, look(NAMES, ()), sample, steps)


def column(size: int, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=size, max_size=size).map(lambda found: np.array(found, dtype=np.float64))


def bits(value: Any) -> Any:
    """All of a value that can be told apart, NaNs and zeros' signs included."""
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, Observed):
        return {name: bits(part) for name, part in vars(value).items()}
    if isinstance(value, dict):
        return [(key, bits(part)) for key, part in value.items()]
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


@given(made())
def test_what_was_seen_comes_back_bit_for_bit_in_order(seen: Seen) -> None:
    assert bits(from_bytes(to_bytes(seen))) == bits(seen)


@given(made())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities less infinities
def test_scores_of_what_comes_back_are_bitwise_the_same(seen: Seen) -> None:
    assert bits(scored(from_bytes(to_bytes(seen)))) == bits(scored(seen))


@given(made())
def test_the_same_observations_make_the_same_bytes(seen: Seen) -> None:
    assert to_bytes(from_bytes(to_bytes(seen))) == to_bytes(seen)
