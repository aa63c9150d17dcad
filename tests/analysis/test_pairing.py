"""The pair of rows that a report's sentence compares, and which rows are paired by seed."""

from __future__ import annotations

import pytest

from synthbench.analysis.pairing import Pair, contrast, headline, is_paired, sides
from synthbench.analysis.rows import SEVERAL, Row, joined
from synthbench.analysis.statistics import Contrast
from tests.analysis.example_rows import TARGET_STEP, on_device, row
from tests.each import each

OLD, DETAILED = "AMD EPYC, Linux", "AMD EPYC (family 25 model 17, AVX512), MKL 2024.2, Linux"
BOTH = joined([OLD, DETAILED])


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


@each(
    ("first", "second", "paired"),
    [
        (DETAILED, DETAILED, True),
        (OLD, OLD, True),
        (OLD, DETAILED, False),  # what an old name leaves out is unknown
        (DETAILED, DETAILED.replace("17", "1"), False),
        (BOTH, BOTH, False),  # which of a row's seeds are whose is unknown
        (BOTH, DETAILED, False),
    ],
)
def test_rows_are_paired_where_one_same_device_measured_both(first: str, second: str, paired: bool) -> None:
    pair = Pair(on_device(first, row("muon")), on_device(second, row("adamw")))
    assert is_paired([pair]) is paired
    assert is_paired([Pair(row("muon"), row("adamw")), pair]) is paired


def test_devices_are_joined_once_each() -> None:
    assert joined(["b", SEVERAL.join(["a", "b"]), "a"]) == SEVERAL.join(["a", "b"])
    assert joined([]) == ""


def scored(optimizer: str, values: dict[int, float], task: str = "wugs") -> Row:
    by_step = {"rule_accuracy@fit": {TARGET_STEP: values}}
    changes = {"values": {"learning": values}, "target_steps": by_step, "task": task}
    return row(optimizer).model_copy(update=changes)


MUON, ADAMW = scored("muon", {0: 0.5, 1: 0.7, 2: 0.9}), scored("adamw", {1: 0.4, 2: 0.5, 3: 0.9})


def test_paired_rows_have_differences_of_common_seeds_and_others_all_seeds_of_each() -> None:
    paired, unpaired = Pair(MUON, ADAMW), Pair(MUON, on_device("another", ADAMW))
    assert sides([paired], "learning") == ({1: 0.7, 2: 0.9}, {1: 0.4, 2: 0.5})
    assert contrast([paired], "learning").values == pytest.approx([0.3, 0.4])
    assert contrast([paired], "learning").is_paired
    assert contrast([unpaired], "learning") == Contrast([0.5, 0.7, 0.9], [0.4, 0.5, 0.9])
    at_step = contrast([unpaired], "rule_accuracy@fit", TARGET_STEP)
    assert at_step == contrast([unpaired], "learning")
    assert contrast([unpaired], "rule_accuracy@fit", TARGET_STEP + 1) == Contrast([], [])


def test_means_over_tasks_are_of_seeds_that_all_tasks_have_and_unpaired_if_one_task_is() -> None:
    """Muon's means over both tasks are 0.5 and 0.6 at seeds 1 and 2, AdamW's 0.3 and 0.7 at seeds 1 and 3."""
    modular = Pair(scored("muon", {1: 0.3, 2: 0.3}, "modular"), scored("adamw", {1: 0.2, 3: 0.5}, "modular"))
    wugs = Pair(MUON, ADAMW)
    assert contrast([wugs, modular], "learning").values == pytest.approx([0.2])
    for mixed in (
        [wugs._replace(row=on_device("another", MUON)), modular],
        [modular, wugs._replace(other=on_device("another", ADAMW))],
    ):
        values, others = contrast(mixed, "learning")
        assert (values, others) == (pytest.approx([0.5, 0.6]), pytest.approx([0.3, 0.7]))
    assert contrast([], "learning") == Contrast([])
