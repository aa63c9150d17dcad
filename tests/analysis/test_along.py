"""What a score does along an axis, against hand-computed cases and numpy's fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from synthbench.analysis.along import inversions, slope, trend, turn
from synthbench.analysis.contrasted import Series
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import difference, difference_p
from tests.analysis.example_rows import task_row
from tests.each import each

DECAYS = (0.1, 0.2, 0.4, 0.8)
SCORE = "learning"


def series(values_by_decay: dict[float, dict[int, float]], before: dict[float, list[float]] | None = None) -> Series:
    """Rows with these values by seed, on a logarithmic scale; before: validation losses of their bases."""
    rows = {decay: _row(values, (before or {}).get(decay, [])) for decay, values in values_by_decay.items()}
    return Series(rows, "log", span=3.0)  # of log2 of DECAYS


def _row(values: dict[int, float], before: list[float]) -> Row:
    row = task_row("adamw", "wugs", [0.5] * 8)
    return row.model_copy(
        update={"values": row.values | {SCORE: values}, "start": {"validation_loss": dict(enumerate(before))}}
    )


def test_a_slope_is_that_of_least_squares() -> None:
    assert slope([0, 1, 2], [1, 3, 5]) == 2
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=7), generator.normal(size=7)
    assert slope([*x], [*y]) == pytest.approx(np.polyfit(x, y, 1)[0])


def test_a_trend_is_the_mean_of_the_changes_of_each_seed() -> None:
    """Seed 0 rises by 0.1 for each doubling, seed 1 by 0.2, seed 2 not at all; over three doublings."""
    steps = {0: 0.1, 1: 0.2, 2: 0.0}
    by_decay = {d: {seed: 0.3 + step * index for seed, step in steps.items()} for index, d in enumerate(DECAYS)}
    contrast = trend([series(by_decay)], SCORE)
    assert contrast.values == [pytest.approx({0: 0.3, 1: 0.6, 2: 0.0})]
    expected = stats.ttest_1samp([0.3, 0.6, 0.0], 0)
    assert (difference(contrast).mean, difference_p(contrast)) == pytest.approx((0.3, expected.pvalue))


def test_a_seed_with_missing_readings_has_the_slope_of_the_others_unless_they_lie_close_together() -> None:
    """Of seed 0 the second value is missing, of seed 1 the last two, so that 0.1 and 0.2 span a third of the axis."""
    by_decay = {d: {seed: 0.1 * index + 0.01 * seed for seed in range(3)} for index, d in enumerate(DECAYS)}
    del by_decay[0.2][0], by_decay[0.4][1], by_decay[0.8][1]
    assert trend([series(by_decay)], SCORE).values == [pytest.approx({0: 0.3, 2: 0.3})]


def test_a_trend_over_two_tasks_is_the_mean_of_theirs_with_seeds_as_clusters() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(0.5, 0.1, (2, 8, len(DECAYS)))
    parts = [series({d: dict(enumerate(task[:, i])) for i, d in enumerate(DECAYS)}) for task in values]
    slopes = np.array([[3 * np.polyfit(np.log2(DECAYS), seed, 1)[0] for seed in task] for task in values])
    expected = stats.ttest_1samp(slopes.mean(axis=0), 0)
    found = trend(parts, SCORE)
    low, high = expected.confidence_interval()
    assert difference(found) == pytest.approx((slopes.mean(), low, high, 8))
    assert difference_p(found) == pytest.approx(expected.pvalue)


def test_a_trend_of_bounds_is_kendall_s_tau_by_seed() -> None:
    """More steps at each decay; at the last two they are not enough, so that these two do not differ."""
    by_decay = {d: dict.fromkeys(range(3), 10.0 * (index + 1)) for index, d in enumerate(DECAYS)}
    rows = {d: row.model_copy(update={"values": {"steps_to_rule@t": row.values[SCORE]},
                                      "censored": {"steps_to_rule@t": dict.fromkeys(range(3), ">") if d > 0.3 else {}}})
            for d, row in series(by_decay).rows.items()}  # fmt: skip
    contrast = trend([Series(rows)], "steps_to_rule@t")
    assert (contrast.values, contrast.is_flipped) == ([dict.fromkeys(range(3), 1.0)], True)


@each(
    ("means", "best", "is_inside"),
    [([0.1, 0.3, 0.2, 0.1], 0.2, True), ([0.1, 0.2, 0.3, 0.4], 0.8, False), ([0.4, 0.2, 0.3, 0.1], 0.1, False)],
)
def test_a_trend_turns_where_the_mean_is_best(means: list[float], best: float, is_inside: bool) -> None:
    by_decay = {d: {seed: mean + 0.001 * seed for seed in range(8)} for d, mean in zip(DECAYS, means, strict=True)}
    assert turn([series(by_decay)], SCORE) == (best, best, best, is_inside)


def test_where_a_trend_turns_is_as_uncertain_as_the_seeds() -> None:
    """The middle two are best at four seeds each; fewer is better of what is forgotten."""
    by_decay = {0.1: dict.fromkeys(range(8), 0.1), 0.2: {seed: 0.5 + 0.1 * (seed % 2) for seed in range(8)},
                0.4: {seed: 0.59 - 0.1 * (seed % 2) for seed in range(8)}}  # fmt: skip
    found = turn([series(by_decay)], SCORE)
    assert found == (0.2, 0.2, 0.4, True)
    down = {d: _row(values, []).model_copy(update={"values": {"forgetting": values}}) for d, values in by_decay.items()}
    assert turn([Series(down)], "forgetting") == (0.1, 0.1, 0.1, False)


def test_inversions_are_pairs_that_are_worse_before_and_better_after() -> None:
    """A greater loss before is worse, greater learning after is better. Of three bases, seed 0 reverses the order; seed 1
    keeps it; seed 2 reverses two of three pairs; of seed 3 two are equal before, and both other pairs are reversed; seed 4
    has one base alone."""
    after = {0.1: [0.3, 0.3, 0.2, 0.1, 0.1], 0.2: [0.2, 0.2, 0.1, 0.2], 0.4: [0.1, 0.1, 0.3, 0.3]}
    before = {0.1: [3.0, 1.0, 1.0, 1.0, 1.0], 0.2: [2.0, 2.0, 2.0, 1.0], 0.4: [1.0, 3.0, 3.0, 2.0]}
    part = series({decay: dict(enumerate(values)) for decay, values in after.items()}, before)
    expected = {0: 1.0, 1: 0.0, 2: 2 / 3, 3: 1.0}
    assert inversions([part], "validation_loss", SCORE).values == [
        pytest.approx({seed: share - 0.5 for seed, share in expected.items()})
    ]


def test_inversions_are_the_opposite_of_kendall_s_tau() -> None:
    generator = np.random.default_rng(2)
    before, after = generator.normal(size=(2, len(DECAYS), 8))
    part = series({d: dict(enumerate(after[i].tolist())) for i, d in enumerate(DECAYS)},
                  {d: before[i].tolist() for i, d in enumerate(DECAYS)})  # fmt: skip
    taus = [stats.kendalltau(before[:, seed], after[:, seed]).statistic for seed in range(8)]
    found = inversions([part], "validation_loss", SCORE).values[0]  # of a loss less is better
    assert [*found.values()] == pytest.approx([tau / 2 for tau in taus])
