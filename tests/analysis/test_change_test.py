"""The test for a change: cases computed by hand, and error rates on distributions that break a t test."""

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


def compare(before: np.ndarray, after: np.ndarray, unit: str = "number", floor: float | None = None) -> Decision:
    values_by_seed = (dict(enumerate(values.tolist())) for values in (before, after))
    return decide(*values_by_seed, noise(before.tolist()) if floor is None else floor, unit)


def test_the_trimmed_mean_and_its_interval_by_hand() -> None:
    """Yuen (1974): of ten values two are trimmed at each end, and winsorized in the deviation. Fewer than eight values
    are not trimmed."""
    values = [9.0, -100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    mean, half_width = trimmed(values)
    assert mean == pytest.approx((2 + 3 + 4 + 5 + 6 + 7) / 6)
    winsorized = stdev([2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 7.0])
    assert half_width == pytest.approx(t.ppf(0.975, 5) * winsorized / (0.6 * sqrt(10)))
    values = [1.0, 2.0, 3.0, 4.0, 15.0]
    mean, half_width = trimmed(values)
    assert mean == 5
    assert half_width == pytest.approx(t.ppf(0.975, 4) * stdev(values) / sqrt(5))


def test_the_deviation_of_a_winsorized_normal_distribution() -> None:
    values = np.sort(np.random.default_rng(0).standard_normal(200_000))
    values[:40_000], values[-40_000:] = values[40_000], values[-40_001]
    assert change_test.winsorized(0.2) == pytest.approx(values.std(), rel=0.01)
    assert change_test.winsorized(0.0) == 1.0


def test_the_bound_scales_with_noise_and_seeds_and_has_a_minimum_share() -> None:
    values = [0.1, 0.3, 0.2, 0.6]
    floor = noise(values)
    assert floor == pytest.approx(stdev(values))  # of fewer than eight values
    assert bound(values, floor, "share", 4) == pytest.approx(BOUND_TIMES * floor)
    assert bound(values, floor, "share", 16) == pytest.approx(BOUND_TIMES * floor / 2)
    assert bound([1.0, 1.0], 0.0, "share", 2) == 0.02
    assert bound([20.0, 20.0], 0.0, "norm", 2) == pytest.approx(0.2)
    assert bound([], 0.0, "share", 2) == 0.02


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, "unchanged"), (0.5, "unchanged"), (1.0, "inconclusive"), (5.0, "changed"), (-5.0, "changed")],
)
def test_the_verdict_depends_on_whether_the_interval_is_beyond_or_within_the_bound(shift: float, verdict: str) -> None:
    """The differences are spread evenly over 0.9 around the shift; the half width of their interval is about 0.4."""
    before = dict.fromkeys(range(10), 0.0)
    after = {seed: shift + (seed - 4.5) / 10 for seed in range(10)}
    decision = decide(before, after, 1.0 / BOUND_TIMES, "number")
    assert decision.allowed == 1.0
    assert decision.verdict == verdict
    assert decision.low < shift < decision.high
    assert (decision.seeds == decision.seeds) == (verdict == "inconclusive")


def test_unpaired_seeds_are_ignored_and_four_seeds_are_inconclusive() -> None:
    four = dict.fromkeys(range(4), 0.0)
    assert repr(decide(four, four | {9: 1.0}, 1.0, "share")) == repr(decide(four, four, 1.0, "share"))
    assert decide(four, four, 1.0, "share").verdict == "inconclusive"
    assert decide({}, {}, 1.0, "share").n == 0


def test_a_constant_score_has_a_bound_if_its_unit_has_a_minimum() -> None:
    zeros = np.zeros(16)
    assert [compare(zeros, zeros + moved).verdict for moved in (0.0, 0.1)] == ["unchanged", "changed"]
    for unit in LEAST:
        decision = compare(zeros, zeros + 1e-9, unit)
        assert (decision.allowed > 0, decision.verdict) == (True, "unchanged")


def test_the_factor_of_seeds_for_a_decision() -> None:
    half = 1 / POWERED
    assert times_the_seeds(0.5, half, 0.0, 0.0) == pytest.approx(4)
    assert times_the_seeds(0.5, half, 2.0, 0.0) == pytest.approx(36)  # interval and bound together shrink to 0.5
    assert times_the_seeds(1.5, half, 1.0, 1.0) == pytest.approx(4)  # the bound does not shrink
    assert times_the_seeds(0.5, half, 1.0, 1.0) == pytest.approx(4)  # for a decision of "unchanged"
    assert times_the_seeds(1.0, half, 1.0, 1.0) == inf


@pytest.mark.parametrize("shift", [2.5, 3.0, 4.0])
def test_the_recommended_number_of_seeds_decides_most_comparisons(shift: float) -> None:
    """Repeats inconclusive comparisons of 16 seeds with the recommended number of seeds. It is computed from a noisy
    difference, so more than the nominal 20 % stay inconclusive."""
    rng, decided, repeated = np.random.default_rng(0), 0, 0
    while repeated < 200:
        before, after = rng.standard_normal((2, SEEDS))
        decision = compare(before, after + shift)
        if decision.verdict == "inconclusive" and decision.seeds < 2000:
            repeated += 1
            before, after = rng.standard_normal((2, ceil(decision.seeds)))
            decided += compare(before, after + shift).verdict != "inconclusive"
    assert decided >= 0.6 * repeated


@pytest.mark.parametrize("shape", SHAPES)
def test_independent_groups_of_one_distribution_are_unchanged(shape: str) -> None:
    """Of 400 comparisons of independent groups none is changed, and at least 94 % are unchanged."""
    rng = np.random.default_rng(0)
    verdicts = Counter(compare(SHAPES[shape](rng), SHAPES[shape](rng)).verdict for _ in range(400))
    assert verdicts["changed"] == 0
    assert verdicts["unchanged"] >= 376


def test_broken_seeds_that_the_mean_trims_still_count() -> None:
    ones = dict.fromkeys(range(16), 1.0)
    for broken, verdict in ((2, "unchanged"), (3, "inconclusive"), (16, "changed")):
        assert decide(ones, ones | dict.fromkeys(range(broken), 0.0), 0.0, "share").verdict == verdict
    torn = ones | {0: 0.0, 1: 0.0, 2: 0.0, 3: 2.0, 4: 2.0}  # three seeds lower, two seeds higher
    assert decide(ones, torn, 0.0, "share").verdict == "unchanged"


def test_an_untrimmed_t_test_is_inconclusive_with_rare_bad_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(values: list[float]) -> tuple[float, float]:
        return fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))

    monkeypatch.setattr(change_test, "trimmed", plain)
    rng, undecided = np.random.default_rng(0), 0
    for _ in range(200):
        before, after = SHAPES["a bad seed in 20"](rng), SHAPES["a bad seed in 20"](rng)
        undecided += compare(before, after).verdict == "inconclusive"
    assert undecided > 30


@pytest.mark.parametrize("n", [5, 8, 16, 32])
def test_a_detectable_difference_is_found_four_times_in_five(n: int) -> None:
    rng, changed = np.random.default_rng(n), 0
    floor = 2 / sqrt(n)  # for a deviation of 1
    shift = change_test.detectable(1.0, n, BOUND_TIMES * floor)
    for _ in range(300):
        before, after = rng.standard_normal(n), rng.standard_normal(n) + shift
        changed += compare(before, after, floor=floor).verdict == "changed"
    assert 210 <= changed <= 270
