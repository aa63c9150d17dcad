"""A row's tier is 1 + the number of significantly better rows of its task; an incomplete row has none."""

from __future__ import annotations

from synthbench.analysis import tiers
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard, load
from tests.analysis.example_rows import on_device, row, row_around
from tests.each import each

CARD = load(RunnerCard, "quick").model_copy(update={"seeds": 8})


def test_rows_without_a_significant_difference_share_a_tier() -> None:
    rows = [
        row_around(0.5, "adamw"),
        row_around(0.9, "muon"),
        row_around(0.505, "sgd", reversed_seeds=True),
        row_around(0.7, "muon", "lora-16"),
    ]
    assert tiers.tiers(rows, "learning", CARD) == [3, 1, 3, 2]
    # two identical rows, and one with a constant difference
    rows = [row_around(0.5, "adamw"), row_around(0.5, "sgd"), row_around(0.5001, "muon")]
    assert tiers.tiers(rows, "learning", CARD) == [2, 2, 1]
    forgetting = [row_around(mean, name, score="forgetting@fit") for name, mean in (("adamw", 0.5), ("muon", 0.9))]
    assert tiers.tiers(forgetting, "forgetting@fit", CARD) == [1, 2]  # lower is better


def test_holm_adjusts_over_the_pairs_of_one_task() -> None:
    """A p-value of 0.045 is significant for a single pair, and not among the three pairs of three rows."""
    scores = [0.9, 0.2, 1.4, -0.5, 1.1, 0.1, 1.7, 0.35]
    muon = row("muon", readings={"learning": scores}, seeds=8)
    adamw = row("adamw", readings={"learning": [0.0] * 8}, seeds=8)
    sgd = row("sgd", readings={"learning": [value - 0.05 for value in scores[::-1]]}, seeds=8)
    assert tiers.tiers([muon, adamw], "learning", CARD) == [1, 2]
    assert tiers.tiers([muon, adamw, sgd], "learning", CARD) == [1, 1, 1]
    on_another_task = sgd.model_copy(update={"task": "another"})
    assert tiers.tiers([muon, adamw, on_another_task], "learning", CARD) == [1, 2, 1]


@each(
    ("row", "reason"),
    [
        (row("sgd", seeds=5), "5 of 8 seeds"),
        (row("sgd", seeds=8, lr=None), "diverged"),
        (row("sgd", seeds=8, reference=True), "a reference row"),
        (row("sgd", seeds=8, readings={"learning": [0.5] * 7}), "diverged at 1 of 8 seeds"),
    ],
)
def test_an_incomplete_row_has_no_tier_and_does_not_count_for_others(row: Row, reason: str) -> None:
    rows = [row_around(0.5, "adamw"), row_around(0.9, "muon"), row]
    assert tiers.lacking(rows, "learning", CARD) == {2: reason}
    assert tiers.tiers(rows, "learning", CARD) == [2, 1, None]


def test_a_reading_that_too_few_seeds_reach_has_no_tier() -> None:
    incomplete = row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 6})
    assert tiers.lacking([incomplete], "forgetting@fit", CARD) == {0: "not reached"}
    assert tiers.lacking([row("sgd", seeds=8, readings={"forgetting@fit": [0.5] * 7})], "forgetting@fit", CARD) == {}


def test_rows_of_two_devices_are_not_paired() -> None:
    """A constant difference of 0.01 is certain if paired, and lost in the deviation between seeds if not."""
    adamw, muon = row_around(0.5, "adamw"), row_around(0.51, "muon")
    assert tiers.tiers([adamw, muon], "learning", CARD) == [2, 1]
    assert tiers.tiers([adamw, on_device("another", muon)], "learning", CARD) == [1, 1]
    assert tiers.tiers([adamw, on_device("another", row_around(0.6, "muon"))], "learning", CARD) == [2, 1]


def test_a_row_with_other_trials_than_most_has_no_tier() -> None:
    """Five rates against twenty-five. A grid that was extended by the card's rule counts as before."""
    extended, strict = (
        CARD.model_copy(update={"stages": [stage.model_copy(update={"extend": most}) for stage in CARD.stages]})
        for most in (1, 0)
    )
    rows = [row_around(mean, f"optimizer-{mean:g}") for mean in (0.4, 0.5, 0.6)]
    trials = ([5, 5], [5, 6], [5, 1])
    rows = [row.model_copy(update={"trials": of_row}) for row, of_row in zip(rows, trials, strict=True)]
    assert tiers.tiers(rows, "learning", extended) == [2, 1, None]
    assert tiers.lacking(rows, "learning", extended) == {2: "5 trials, most rows have 25"}
    assert tiers.tiers(rows[:2], "learning", strict) == [1, None]
