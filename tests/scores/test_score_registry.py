"""Every registered score has a formula, unit, range, direction and source, applies, and stays in its range."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np
import pytest

from synthbench.generators import BUCKETS, SLICES, SPLITS
from synthbench.scores import SCORES, Observations, Point, Score, at_point, register
from synthbench.scores.distance import GROUPS
from synthbench.scores.observations import HEAD, TAIL
from synthbench.scores.probes import BASE, MEASURED
from synthbench.scores.reading import READINGS
from synthbench.scores.registry import at_level
from synthbench.scores.relearning import CONTROL, OTHER
from tests.each import each

PROBED = {*MEASURED}  # with tests of their own
POINT = [score for score in SCORES.values() if score.level == "point" and score.name not in PROBED]
CELL = [score for score in SCORES.values() if score.level == "cell"]
READ = [score for score in CELL if not score.name.endswith("@t")]


def bounds(score: Score) -> tuple[float, float]:
    low, high = (float(bound) for bound in score.range.split(" to "))
    return low, high


def random_observations(generator: np.random.Generator, items: int) -> Observations:
    correct_N = generator.random(items) < generator.choice([0.05, 0.5, 0.95])
    correct_N[0] = True  # retention and the fate of an old rule need a known item
    return Observations(
        correct_N, generator.random(items) < 0.5, generator.exponential(3, items), generator.exponential(1, items),
        generator.uniform(0, 9, items), int(generator.integers(1, 9)), float(generator.random()),
        np.resize(np.array([HEAD, TAIL, 2], dtype=np.int8), items),
    )  # fmt: skip


def points(seed: int) -> tuple[Point, Point]:
    """A run before and after, with every old and new slice."""
    generator = np.random.default_rng(seed)
    names = [f"{age}/{slice_name}/{split}" for age in ("old", "new") for slice_name in SLICES for split in SPLITS]
    items = {name: int(generator.integers(2, 7)) for name in names}  # at least one of the head and one of the tail
    before = {name: random_observations(generator, items[name]) for name in names if name.startswith("old/")}
    after = {name: random_observations(generator, items[name]) for name in names}
    moved = {group: float(generator.exponential()) for group in GROUPS}
    return Point(before, {}), Point(after, moved, int(generator.integers(1, 1000)))


@pytest.fixture(scope="module")
def scores_of_seeds() -> list[dict[str, float]]:
    return [at_point(*points(seed)) for seed in range(100)]


@each("score", POINT)
def test_every_point_score_applies_and_lies_in_its_range(scores_of_seeds: list[dict[str, float]], score: Score) -> None:
    low, high = bounds(score)
    assert all(isfinite(scores[score.name]) for scores in scores_of_seeds)
    assert all(low - 1e-9 <= scores[score.name] <= high + 1e-9 for scores in scores_of_seeds)


def probe(seed: int) -> Point:
    """A probe after relearning."""
    generator = np.random.default_rng(seed)
    return Point(
        {
            f"{name}/{time}": random_observations(generator, 5)
            for name in (OTHER, CONTROL)
            for time in ("before", "after")
        },
        {},
    )


def test_every_score_of_a_path_or_a_probe_applies_and_lies_in_its_range() -> None:
    for seed in range(50):
        before, after = points(seed)
        generator = np.random.default_rng(seed)
        sizes = {name: len(observations.nll_N) for name, observations in before.sets.items()}
        new_sets = {name: observations for name, observations in after.sets.items() if name not in before.sets}
        samples = [
            Point({name: random_observations(generator, size) for name, size in sizes.items()} | new_sets, {})
            for _ in range(4)
        ]
        path = {step: at_point(before, sample) for step, sample in enumerate([after, *samples])}
        for level, scores in (("path", at_level("path", path)), ("probe", at_level("probe", probe(seed)))):
            for score in (score for score in SCORES.values() if score.level == level):
                low, high = bounds(score)
                assert low <= scores[score.name] <= high, score.name


@each("score", SCORES.values())
def test_every_score_has_formula_unit_range_direction_and_source(score: Score) -> None:
    low, high = bounds(score)
    assert low < high
    assert low in (-inf, -2, -1, 0)
    assert score.better in ("up", "down", "-")
    assert SCORES[score.name] is score
    assert all(text.strip() == text and text for text in (score.name, score.formula, score.unit, score.source))
    assert (score.compute is None) == (score.level == "cell")


@each("score", READ)
def test_a_reading_has_the_unit_range_and_direction_of_its_score(score: Score) -> None:
    name, _, reading = score.name.partition("@")
    score_read = SCORES[name]
    assert reading in READINGS or f"@{reading}" == BASE
    assert score_read.level == "point"
    assert (score.unit, score.range, score.better) == (score_read.unit, score_read.range, score_read.better)


def test_every_point_score_that_a_path_has_is_read_in_every_way() -> None:
    readings = {score.name: [name for name in READINGS if f"{score.name}@{name}" in SCORES] for score in POINT}
    not_along = {"validation_learning", "validation_loss", "bits_per_param", "dataset_bits_per_param"}
    assert {name for name, read in readings.items() if not read} == not_along
    assert {name for name, read in readings.items() if 0 < len(read) < 3} == {"fit"}
    assert readings["fit"] == ["steps"]  # at one fit it is that fit


def test_a_score_s_name_is_registered_once() -> None:
    before = dict(SCORES)
    with pytest.raises(ValueError, match="'fit'"):
        register(Score("fit", "another", "share", "0 to 1", "up", "the test"))
    assert before == SCORES


def test_head_and_tail_have_the_same_index_in_scores_and_generators() -> None:
    assert (BUCKETS[HEAD], BUCKETS[TAIL]) == ("head", "tail")
