"""What registers is tested: every score says what it is, applies, and stays in its range."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np
import pytest

from synthbench.generators import SLICES, SPLITS
from synthbench.scores import SCORES, Observed, Point, Score, at_point, register
from synthbench.scores.moved import GROUPS

POINT = [score for score in SCORES.values() if score.level == "point"]
CELL = [score for score in SCORES.values() if score.level == "cell"]


def bounds(score: Score) -> tuple[float, float]:
    low, high = (float(bound) for bound in score.range.split(" to "))
    return low, high


def observed(generator: np.random.Generator, items: int) -> Observed:
    correct_N = generator.random(items) < generator.choice([0.05, 0.5, 0.95])
    correct_N[0] = True  # something is known: retention has a denominator
    return Observed(
        correct_N, generator.random(items) < 0.5, generator.exponential(3, items), generator.exponential(1, items),
        generator.uniform(0, 9, items), int(generator.integers(1, 9)), float(generator.random()),
    )  # fmt: skip


def points(seed: int) -> tuple[Point, Point]:
    """A run before and after, every slice observed, old and new."""
    generator = np.random.default_rng(seed)
    names = [f"{age}/{part}/{split}" for age in ("old", "new") for part in SLICES for split in SPLITS]
    items = {name: int(generator.integers(1, 7)) for name in names}
    before = {name: observed(generator, items[name]) for name in names if name.startswith("old/")}
    after = {name: observed(generator, items[name]) for name in names}
    return Point(before, {}), Point(after, {group: float(generator.exponential()) for group in GROUPS})


@pytest.fixture(scope="module")
def many() -> list[dict[str, float]]:
    return [at_point(*points(seed)) for seed in range(200)]


@pytest.mark.parametrize("score", POINT, ids=lambda score: score.name)
def test_every_point_score_applies_to_a_generic_point(many: list[dict[str, float]], score: Score) -> None:
    assert all(isfinite(scores[score.name]) for scores in many)


@pytest.mark.parametrize("score", POINT, ids=lambda score: score.name)
def test_every_point_score_lies_in_its_range(many: list[dict[str, float]], score: Score) -> None:
    low, high = bounds(score)
    assert all(low - 1e-9 <= scores[score.name] <= high + 1e-9 for scores in many)


@pytest.mark.parametrize("seed", range(10))
def test_what_did_not_change_is_not_forgotten(seed: int) -> None:
    _, point = points(seed)
    scores = at_point(point, point)
    forgotten = [name for name in scores if "forgetting" in name]
    assert forgotten
    assert all(scores[name] == 0 for name in forgotten)
    assert scores["retention"] == 1


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_every_score_has_formula_unit_range_direction_and_source(score: Score) -> None:
    low, high = bounds(score)
    assert low < high
    assert low in (-inf, -2, -1, 0)
    assert score.better in ("up", "down", "-")
    assert all(text.strip() == text and text for text in (score.name, score.formula, score.unit, score.source))
    assert (score.compute is None) == (score.level == "cell")


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_registered_under_its_own_name(name: str) -> None:
    assert SCORES[name].name == name


@pytest.mark.parametrize("score", CELL, ids=lambda score: score.name)
def test_a_reading_has_the_unit_range_and_direction_of_the_score_it_reads(score: Score) -> None:
    name, _, how = score.name.partition("@")
    read = SCORES[name]
    assert how == "fit"
    assert read.level == "point"
    assert (score.unit, score.range, score.better) == (read.unit, read.range, read.better)


def test_a_scores_name_is_registered_once() -> None:
    before = dict(SCORES)
    with pytest.raises(ValueError, match="'fit' is registered already"):
        register(Score("fit", "another", "share", "0 to 1", "up", "the test"))
    assert before == SCORES
