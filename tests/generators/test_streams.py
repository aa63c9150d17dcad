"""Random streams: the same address gives the same stream, any other address an independent one."""

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


@each("part", ADDRESS)
def test_every_part_of_an_address_gives_another_uncorrelated_stream(part: str) -> None:
    one, other = uniform(**ADDRESS), uniform(**ADDRESS | {part: OTHER[part]})
    assert not np.isclose(one, other, atol=1e-9).any()
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / sqrt(DRAWS)


def test_neighbouring_seeds_give_uncorrelated_streams_at_every_small_lag() -> None:
    streams = [uniform(**ADDRESS | {"seed": seed}) for seed in range(8)]
    for one, other in pairwise(streams):
        for lag in range(4):
            assert abs(np.corrcoef(one[lag:], other[: DRAWS - lag])[0, 1]) < 5 / sqrt(DRAWS - lag)


def test_parts_of_an_address_do_not_run_into_each_other() -> None:
    one = uniform(**ADDRESS | {"task": "ab", "stage": "c"})
    other = uniform(**ADDRESS | {"task": "a", "stage": "bc"})
    assert not np.array_equal(one, other)


def test_a_thousand_addresses_start_a_thousand_streams() -> None:
    first = {
        stream(Place(seed, task, "finetune", part), "train", purpose).integers(2**63)
        for seed in (*range(60), 2**32, 2**32 + 1, 2**40)
        for task in ("one", "other")
        for part in ("fact", "rule")
        for purpose in ("objects", "order", "initialization", "adapters")
    }
    assert len(first) == 63 * 2 * 2 * 4
