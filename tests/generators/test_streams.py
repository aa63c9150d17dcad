"""Random streams: equal addresses give equal streams, different addresses independent ones."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np

from synthbench.generators import Place, stream
from tests.each import each

ADDRESS = {"seed": 3, "task": "a-task", "stage": "finetune", "slice": "rule", "split": "train", "purpose": "objects"}
OTHER = {"seed": 4, "task": "b-task", "stage": "pretrain", "slice": "fact", "split": "test", "purpose": "order"}
DRAWS = 4096


def uniform(seed: int, task: str, stage: str, slice: str, split: str, purpose: str) -> np.ndarray:
    return stream(Place(seed, task, stage, slice), split, purpose).random(DRAWS)


@each("field", ADDRESS)
def test_every_field_of_an_address_gives_an_uncorrelated_stream(field: str) -> None:
    first, second = uniform(**ADDRESS), uniform(**ADDRESS | {field: OTHER[field]})
    assert not np.isclose(first, second, atol=1e-9).any()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / sqrt(DRAWS)


def test_neighbouring_seeds_have_uncorrelated_streams_at_every_small_lag() -> None:
    streams = [uniform(**ADDRESS | {"seed": seed}) for seed in range(8)]
    for first, second in pairwise(streams):
        for lag in range(4):
            assert abs(np.corrcoef(first[lag:], second[: DRAWS - lag])[0, 1]) < 5 / sqrt(DRAWS - lag)


def test_fields_of_an_address_are_separated() -> None:
    first = uniform(**ADDRESS | {"task": "ab", "stage": "c"})
    second = uniform(**ADDRESS | {"task": "a", "stage": "bc"})
    assert not np.array_equal(first, second)


def test_many_addresses_have_distinct_streams() -> None:
    first = {
        stream(Place(seed, task, "finetune", slice_name), "train", purpose).integers(2**63)
        for seed in (*range(60), 2**32, 2**32 + 1, 2**40)
        for task in ("one", "other")
        for slice_name in ("fact", "rule")
        for purpose in ("objects", "order", "initialization", "adapters")
    }
    assert len(first) == 63 * 2 * 2 * 4
