"""The pair of rows that a report's sentence compares."""

from __future__ import annotations

from synthbench.analysis.pairing import headline
from tests.analysis.example_rows import row


def test_a_measured_optimizer_is_compared_with_adamw_under_the_same_update() -> None:
    pair = headline(
        [row("muon", "lora-16"), row("sgd", "lora-16", reference=True), row("adamw", "lora-16", reference=True)]
    )
    assert pair is not None
    assert (pair.row.optimizer, pair.other.optimizer, pair.other.update) == ("muon", "adamw", "lora-16")


def test_the_pair_is_on_the_first_task_and_has_no_variants() -> None:
    variant = row("adamw-aux-01").model_copy(update={"variant_of": "adamw-split"})
    on_another_task = [row(name).model_copy(update={"task": "wugs"}) for name in ("adamw", "sgd")]
    pair = headline([variant, row("adamw"), row("muon"), *on_another_task])
    assert pair is not None
    assert [side.optimizer for side in pair] == ["muon", "adamw"]
    assert {side.task for side in pair} == {"rote-vs-rule"}


def test_a_single_row_has_no_pair() -> None:
    assert headline([row("muon")]) is None
