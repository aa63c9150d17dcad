"""Decisions against hand-computed cases, and what they are worth on shapes that break a t test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import ceil, inf, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy.stats import t

from synthbench.analysis import change_test
from synthbench.analysis.change_test import (
    BOUND_TIMES,
    LEAST,
    POWERED,
    Decision,
    bound,
    decide,
    noise,
    times_the_seeds,
    trimmed,
)

SEEDS = 16
Draw = Callable[[np.random.Generator], np.ndarray]
SHAPES: dict[str, Draw] = {
    "normal": lambda rng: rng.standard_normal(SEEDS),
    "on a ceiling": lambda rng: 1 - np.where(rng.random(SEEDS) < 0.75, 0, rng.exponential(0.02, SEEDS)),
    "a bad seed in 20": lambda rng: rng.standard_normal(SEEDS) - 20 * (rng.random(SEEDS) < 0.05),
    "a bad seed in 10": lambda rng: rng.standard_normal(SEEDS) - 20 * (rng.random(SEEDS) < 0.1),
    "skewed": lambda rng: np.exp(rng.standard_normal(SEEDS)),
    "discrete": lambda rng: np.round(rng.standard_normal(SEEDS) / 2),
    "heavy tails": lambda rng: rng.standard_t(3, SEEDS),
    "two modes": lambda rng: rng.standard_normal(SEEDS) + 6 * (rng.random(SEEDS) < 0.3),
}


def compared(before: np.ndarray, after: np.ndarray, unit: str = "number", floor: float | None = None) -> Decision:
    sides = (dict(enumerate(values.tolist())) for values in (before, after))
    return decide(*sides, noise(before.tolist()) if floor is None else floor, unit)


def test_the_trimmed_mean_and_its_interval_by_hand() -> None:
    """Yuen (1974): of ten values two are cut at each end and count as their neighbours in the deviation; below eight
    nothing is cut."""
    values = [9.0, -100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    middle, half = trimmed(values)
    assert middle == pytest.approx((2 + 3 + 4 + 5 + 6 + 7) / 6)
    winsorized = stdev([2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 7.0])
    assert half == pytest.approx(t.ppf(0.975, 5) * winsorized / (0.6 * sqrt(10)))
    values = [1.0, 2.0, 3.0, 4.0, 15.0]
    middle, half = trimmed(values)
    assert middle == 5
    assert half == pytest.approx(t.ppf(0.975, 4) * stdev(values) / sqrt(5))


def test_the_deviation_of_a_winsorized_normal_distribution() -> None:
    values = np.sort(np.random.default_rng(0).standard_normal(200_000))
    values[:40_000], values[-40_000:] = values[40_000], values[-40_001]
    assert change_test.winsorized(0.2) == pytest.approx(values.std(), rel=0.01)
    assert change_test.winsorized(0.0) == 1.0


def test_a_bound_is_of_noise_falls_with_seeds_and_is_never_less_than_a_share() -> None:
    values = [0.1, 0.3, 0.2, 0.6]
    floor = noise(values)
    assert floor == pytest.approx(stdev(values))  # of four values
    assert bound(values, floor, "share", 4) == pytest.approx(BOUND_TIMES * floor)
    assert bound(values, floor, "share", 16) == pytest.approx(BOUND_TIMES * floor / 2)
    assert bound([1.0, 1.0], 0.0, "share", 2) == 0.02
    assert bound([20.0, 20.0], 0.0, "norm", 2) == pytest.approx(0.2)
    assert bound([], 0.0, "share", 2) == 0.02


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, "unchanged"), (0.5, "unchanged"), (1.0, "inconclusive"), (5.0, "changed"), (-5.0, "changed")],
)
def test_an_interval_beyond_or_within_the_bound_decides(shift: float, verdict: str) -> None:
    """Differences 0, 1, ... 9 tenths around the shift: their interval has half a width of .4."""
    before = dict.fromkeys(range(10), 0.0)
    after = {seed: shift + (seed - 4.5) / 10 for seed in range(10)}
    found = decide(before, after, 1.0 / BOUND_TIMES, "number")
    assert found.allowed == 1.0
    assert found.verdict == verdict
    assert found.low < shift < found.high
    assert (found.seeds == found.seeds) == (verdict == "inconclusive")


def test_seeds_that_one_side_lacks_and_too_few_tell_nothing() -> None:
    four = dict.fromkeys(range(4), 0.0)
    assert repr(decide(four, four | {9: 1.0}, 1.0, "share")) == repr(decide(four, four, 1.0, "share"))
    assert decide(four, four, 1.0, "share").verdict == "inconclusive"
    assert decide({}, {}, 1.0, "share").n == 0


def test_a_score_that_no_seed_moves_has_a_bound_where_its_unit_has() -> None:
    zeros = np.zeros(16)
    assert [compared(zeros, zeros + moved).verdict for moved in (0.0, 0.1)] == ["unchanged", "changed"]
    for unit in LEAST:
        found = compared(zeros, zeros + 1e-9, unit)
        assert (found.allowed > 0, found.verdict) == (True, "unchanged")


def test_how_many_times_the_seeds_would_tell() -> None:
    half = 1 / POWERED
    assert times_the_seeds(0.5, half, 0.0, 0.0) == pytest.approx(4)
    assert times_the_seeds(0.5, half, 2.0, 0.0) == pytest.approx(36)  # interval and bound together fall to .5
    assert times_the_seeds(1.5, half, 1.0, 1.0) == pytest.approx(4)  # the bound stays
    assert times_the_seeds(0.5, half, 1.0, 1.0) == pytest.approx(4)  # to be told small
    assert times_the_seeds(1.0, half, 1.0, 1.0) == inf


@pytest.mark.parametrize("shift", [2.5, 3.0, 4.0])
def test_so_many_seeds_as_are_named_do_tell(shift: float) -> None:
    """Of comparisons that 16 seeds leave open, drawn anew with the seeds that they name. They name them for the
    difference that they saw, which chance made, so more than a fifth stay open."""
    rng, told, asked = np.random.default_rng(0), 0, 0
    while asked < 200:
        before, after = rng.standard_normal((2, SEEDS))
        found = compared(before, after + shift)
        if found.verdict == "inconclusive" and found.seeds < 2000:
            asked += 1
            before, after = rng.standard_normal((2, ceil(found.seeds)))
            told += compared(before, after + shift).verdict != "inconclusive"
    assert told >= 0.6 * asked


@pytest.mark.parametrize("shape", SHAPES)
def test_groups_that_chance_alone_parts_are_unchanged(shape: str) -> None:
    """Of 400 comparisons of independent groups none changed, and at least 94 in 100 are unchanged."""
    rng = np.random.default_rng(0)
    verdicts = Counter(compared(SHAPES[shape](rng), SHAPES[shape](rng)).verdict for _ in range(400))
    assert verdicts["changed"] == 0
    assert verdicts["unchanged"] >= 376


def test_seeds_that_trimming_would_cut_are_not_passed_over() -> None:
    ones = dict.fromkeys(range(16), 1.0)
    for broken, verdict in ((2, "unchanged"), (3, "inconclusive"), (16, "changed")):
        assert decide(ones, ones | dict.fromkeys(range(broken), 0.0), 0.0, "share").verdict == verdict
    torn = ones | {0: 0.0, 1: 0.0, 2: 0.0, 3: 2.0, 4: 2.0}  # as many the other way, but one
    assert decide(ones, torn, 0.0, "share").verdict == "unchanged"


def test_a_t_test_would_leave_rare_bad_seeds_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(values: list[float]) -> tuple[float, float]:
        return fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))

    monkeypatch.setattr(change_test, "trimmed", plain)
    rng, undecided = np.random.default_rng(0), 0
    for _ in range(200):
        before, after = SHAPES["a bad seed in 20"](rng), SHAPES["a bad seed in 20"](rng)
        undecided += compared(before, after).verdict == "inconclusive"
    assert undecided > 30


@pytest.mark.parametrize("n", [5, 8, 16, 32])
def test_what_is_said_to_be_found_is_found_four_times_in_five(n: int) -> None:
    rng, changed = np.random.default_rng(n), 0
    floor = 2 / sqrt(n)  # of a deviation of 1
    shift = change_test.detectable(1.0, n, BOUND_TIMES * floor)
    for _ in range(300):
        before, after = rng.standard_normal(n), rng.standard_normal(n) + shift
        changed += compared(before, after, floor=floor).verdict == "changed"
    assert 210 <= changed <= 270
