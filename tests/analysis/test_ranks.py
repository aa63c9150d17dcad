"""A row's rank is the places that significant differences leave it in its task; an incomplete row has none."""

from __future__ import annotations

import pytest

from synthbench.analysis import ranks
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from tests.analysis import example_rows
from tests.analysis.example_rows import on_device, row, row_around
from tests.each import each

CARD = example_rows.CARD.model_copy(update={"seeds": 8})


def texts(rows: list[Row], score: str = "learning", card: RunnerCard = CARD) -> list[str | None]:
    return [str(rank) if rank else None for rank in ranks.ranks(rows, score, card)]


def test_a_rank_is_the_places_that_significant_differences_leave() -> None:
    rows = [
        row_around(0.5, "adamw"),
        row_around(0.9, "muon"),
        row_around(0.505, "sgd", reversed_seeds=True),
        row_around(0.7, "muon", "lora-16"),
    ]
    assert texts(rows) == ["3-4", "1", "3-4", "2"]
    # two identical rows, and one with a constant difference of less than an item
    rows = [row_around(0.5, "adamw"), row_around(0.5, "sgd"), row_around(0.5001, "muon")]
    assert texts(rows) == ["1-3", "1-3", "1-3"]
    assert texts([*rows[:2], row_around(0.51, "muon")]) == ["2-3", "2-3", "1"]
    forgetting = [row_around(mean, name, score="forgetting@fit") for name, mean in (("adamw", 0.5), ("muon", 0.9))]
    assert texts(forgetting, "forgetting@fit") == ["1", "2"]  # lower is better


def test_a_noisy_row_that_beats_none_may_be_first_or_last() -> None:
    """A mean that is low by one bad seed is no worse than the others, which differ from each other."""
    noisy = row("sgd", readings={"learning": [0.9] * 7 + [0.0]}, seeds=8)
    rows = [row_around(0.8, "adamw"), row_around(0.7, "muon"), noisy]
    assert texts(rows) == ["1-2", "2-3", "1-3"]


def test_a_row_is_behind_the_best_mean_with_the_interval_of_their_difference() -> None:
    """Muon is 0.4 better at each seed: the error is that of an item, t(0.975, 7) = 2.3646."""
    for score, behind in (("learning", [True, False]), ("forgetting@fit", [False, True])):
        adamw, muon = (row_around(mean, name, score=score) for name, mean in (("adamw", 0.5), ("muon", 0.9)))
        places = ranks.ranks([adamw, muon], score, CARD)
        measured = [place.behind for place in places if place]
        assert [interval is not None for interval in measured] == behind
        (interval,) = [interval for interval in measured if interval]
        half = 2.3646 / 1024 / 8**0.5
        assert interval == pytest.approx((0.4, 0.4 - half, 0.4 + half, 8), abs=1e-6)


def test_holm_adjusts_over_the_pairs_of_one_task() -> None:
    """A p-value of 0.045 is significant for a single pair, and not among the three pairs of three rows."""
    scores = [0.9, 0.2, 1.4, -0.5, 1.1, 0.1, 1.7, 0.35]
    muon = row("muon", readings={"learning": scores}, seeds=8)
    adamw = row("adamw", readings={"learning": [0.0] * 8}, seeds=8)
    sgd = row("sgd", readings={"learning": [value - 0.05 for value in scores[::-1]]}, seeds=8)
    assert texts([muon, adamw]) == ["1", "2"]
    assert texts([muon, adamw, sgd]) == ["1-3"] * 3
    on_another_task = sgd.model_copy(update={"task": "another"})
    assert texts([muon, adamw, on_another_task]) == ["1", "2", "1"]


def test_bounds_are_ranked_beyond_all_values() -> None:
    """Muon finds the rule at every seed, AdamW at none: eight signed ranks of one sign have p = 2 / 2 ** 8."""
    score, steps = "steps_to_rule@t", {seed: 10.0 + seed for seed in range(8)}
    muon = row("muon", seeds=8).model_copy(update={"values": {score: steps}})
    never = {"values": {score: dict.fromkeys(range(8), 20.0)}, "censored": {score: dict.fromkeys(range(8), ">")}}
    adamw = row("adamw", seeds=8).model_copy(update=never)
    assert ranks.lacking([muon, adamw], score, CARD) == {}
    assert texts([muon, adamw], score) == ["1", "2"]


@each(
    ("row", "reason"),
    [
        (row("sgd", seeds=5), "5 of 8 seeds"),
        (row("sgd", seeds=8, lr=None), "diverged"),
        (row("sgd", seeds=8, reference=True), "a reference row"),
        (row("sgd", seeds=8, readings={"learning": [0.5] * 7}), "diverged at 1 of 8 seeds"),
    ],
)
def test_an_incomplete_row_has_no_rank_and_does_not_count_for_others(row: Row, reason: str) -> None:
    rows = [row_around(0.5, "adamw"), row_around(0.9, "muon"), row]
    assert ranks.lacking(rows, "learning", CARD) == {2: reason}
    assert texts(rows) == ["2", "1", None]


def test_a_reading_that_too_few_seeds_reach_has_no_rank() -> None:
    incomplete = row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 6})
    assert ranks.lacking([incomplete], "forgetting@fit", CARD) == {0: "not reached"}
    assert ranks.lacking([row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 7})], "forgetting@fit", CARD) == {}


def test_rows_of_two_devices_are_not_paired() -> None:
    """A constant difference of 0.01 is certain if paired, and lost in the deviation between seeds if not."""
    adamw, muon = row_around(0.5, "adamw"), row_around(0.51, "muon")
    assert texts([adamw, muon]) == ["2", "1"]
    assert texts([adamw, on_device("another", muon)]) == ["1-2", "1-2"]
    assert texts([adamw, on_device("another", row_around(0.6, "muon"))]) == ["2", "1"]


def test_a_row_with_other_trials_than_most_has_no_rank() -> None:
    """Five rates against twenty-five. A grid that was extended by the card's rule counts as before."""
    extended, strict = (
        CARD.model_copy(update={"stages": [stage.model_copy(update={"extend": most}) for stage in CARD.stages]})
        for most in (1, 0)
    )
    rows = [row_around(mean, f"optimizer-{mean:g}") for mean in (0.4, 0.5, 0.6)]
    trials = ([5, 5], [5, 6], [5, 1])
    rows = [row.model_copy(update={"trials": of_row}) for row, of_row in zip(rows, trials, strict=True)]
    assert texts(rows, card=extended) == ["2", "1", None]
    assert ranks.lacking(rows, "learning", extended) == {2: "5 trials, most rows have 25"}
    assert texts(rows[:2], card=strict) == ["1", None]
