"""What registers is tested: every score says what it is, applies, and stays in its range."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np
import pytest

from synthbench.generators import BUCKETS, SLICES, SPLITS
from synthbench.scores import SCORES, Observations, Point, Score, at_point, register
from synthbench.scores.distance import GROUPS
from synthbench.scores.observations import HEAD, TAIL
from synthbench.scores.registry import at_level
from synthbench.scores.relearning import CONTROL, OTHER
from tests.each import each

POINT = [score for score in SCORES.values() if score.level == "point"]
CELL = [score for score in SCORES.values() if score.level == "cell"]
AT_FIT = [score for score in CELL if score.name.endswith("@fit")]


def bounds(score: Score) -> tuple[float, float]:
    low, high = (float(bound) for bound in score.range.split(" to "))
    return low, high


def observed(generator: np.random.Generator, items: int) -> Observations:
    correct_N = generator.random(items) < generator.choice([0.05, 0.5, 0.95])
    correct_N[0] = True  # something is known: retention has a denominator
    return Observations(
        correct_N, generator.random(items) < 0.5, generator.exponential(3, items), generator.exponential(1, items),
        generator.uniform(0, 9, items), int(generator.integers(1, 9)), float(generator.random()),
        np.resize(np.array([HEAD, TAIL, 2], dtype=np.int8), items),
    )  # fmt: skip


def points(seed: int) -> tuple[Point, Point]:
    """A run before and after, every slice observed, old and new."""
    generator = np.random.default_rng(seed)
    names = [f"{age}/{part}/{split}" for age in ("old", "new") for part in SLICES for split in SPLITS]
    items = {name: int(generator.integers(2, 7)) for name in names}  # of the head one at least, and of the tail
    before = {name: observed(generator, items[name]) for name in names if name.startswith("old/")}
    after = {name: observed(generator, items[name]) for name in names}
    moved = {group: float(generator.exponential()) for group in GROUPS}
    return Point(before, {}), Point(after, moved, int(generator.integers(1, 1000)))


@pytest.fixture(scope="module")
def many() -> list[dict[str, float]]:
    return [at_point(*points(seed)) for seed in range(100)]


@each("score", POINT)
def test_every_point_score_applies_to_a_generic_point_and_lies_in_its_range(
    many: list[dict[str, float]], score: Score
) -> None:
    low, high = bounds(score)
    assert all(isfinite(scores[score.name]) for scores in many)
    assert all(low - 1e-9 <= scores[score.name] <= high + 1e-9 for scores in many)


def probe(seed: int) -> Point:
    """A look after relearning."""
    generator = np.random.default_rng(seed)
    return Point(
        {f"{name}/{when}": observed(generator, 5) for name in (OTHER, CONTROL) for when in ("before", "after")}, {}
    )


def test_every_score_of_a_path_or_a_probe_applies_and_lies_in_its_range() -> None:
    for seed in range(50):
        before, after = points(seed)
        generator = np.random.default_rng(seed)
        looks = [Point({name: observed(generator, len(one.nll_N)) for name, one in before.sets.items()} | {
            name: one for name, one in after.sets.items() if name not in before.sets}, {}) for _ in range(4)]  # fmt: skip
        path = {step: at_point(before, look) for step, look in enumerate([after, *looks])}
        for level, found in (("path", at_level("path", path)), ("probe", at_level("probe", probe(seed)))):
            for score in (score for score in SCORES.values() if score.level == level):
                low, high = bounds(score)
                assert low <= found[score.name] <= high, score.name


@each("score", SCORES.values())
def test_every_score_has_formula_unit_range_direction_and_source(score: Score) -> None:
    low, high = bounds(score)
    assert low < high
    assert low in (-inf, -2, -1, 0)
    assert score.better in ("up", "down", "-")
    assert SCORES[score.name] is score
    assert all(text.strip() == text and text for text in (score.name, score.formula, score.unit, score.source))
    assert (score.compute is None) == (score.level == "cell")


@each("score", AT_FIT)
def test_a_reading_has_the_unit_range_and_direction_of_the_score_it_reads(score: Score) -> None:
    name, _, how = score.name.partition("@")
    read = SCORES[name]
    assert how == "fit"
    assert read.level == "point"
    assert (score.unit, score.range, score.better) == (read.unit, read.range, read.better)


def test_a_scores_name_is_registered_once() -> None:
    before = dict(SCORES)
    with pytest.raises(ValueError, match="'fit'"):
        register(Score("fit", "another", "share", "0 to 1", "up", "the test"))
    assert before == SCORES


def test_scores_and_generators_mean_the_same_by_head_and_tail() -> None:
    assert (BUCKETS[HEAD], BUCKETS[TAIL]) == ("head", "tail")
