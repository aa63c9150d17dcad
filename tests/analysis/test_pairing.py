"""The pair of rows that a report's sentence compares, and which rows are paired by seed."""

from __future__ import annotations

import pytest

from synthbench.analysis.contrast import RESOLUTION, Contrast
from synthbench.analysis.pairing import Pair, contrast, counterpart, headline, is_paired, of_optimizer, sides
from synthbench.analysis.rows import SEVERAL, Row, joined
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
    assert sides(paired, "learning") == ({1: 0.7, 2: 0.9}, {1: 0.4, 2: 0.5})
    assert contrast([paired], "learning").values == [pytest.approx({1: 0.3, 2: 0.4})]
    assert contrast([paired], "learning").is_paired
    both = Contrast([{0: 0.5, 1: 0.7, 2: 0.9}], [{1: 0.4, 2: 0.5, 3: 0.9}], RESOLUTION)
    assert sides(unpaired, "learning") == (both.values[0], {1: 0.4, 2: 0.5, 3: 0.9})
    assert contrast([unpaired], "learning") == both
    assert contrast([unpaired], "rule_accuracy@fit", TARGET_STEP) == both
    assert contrast([unpaired], "rule_accuracy@fit", TARGET_STEP + 1) == Contrast([{}], [{}], RESOLUTION)
    assert contrast([unpaired], "loss_forgetting").resolution == 0  # no share


def test_each_task_has_the_seeds_that_it_has_and_all_are_unpaired_if_one_is() -> None:
    grokking = Pair(scored("muon", {1: 0.3, 2: 0.3}, "grokking"), scored("adamw", {1: 0.2, 3: 0.5}, "grokking"))
    wugs = Pair(MUON, ADAMW)
    pooled = contrast([wugs, grokking], "learning")
    assert pooled.values == [pytest.approx({1: 0.3, 2: 0.4}), pytest.approx({1: 0.1})]
    assert (pooled.mean, pooled.n, pooled.fewest) == (pytest.approx((0.35 + 0.1) / 2), 2, 1)
    for mixed in (
        [wugs._replace(row=on_device("another", MUON)), grokking],
        [grokking, wugs._replace(other=on_device("another", ADAMW))],
    ):
        pooled = contrast(mixed, "learning")
        assert (pooled.is_paired, pooled.n, pooled.fewest) == (False, 3, 2)
        assert pooled.mean == pytest.approx((0.7 + 0.3) / 2 - (0.6 + 0.35) / 2)
    assert contrast([], "learning").n == 0


def test_rows_are_paired_where_they_start_from_the_same_models() -> None:
    """The same optimizers of earlier stages, and equal scores of what they pretrained; or no earlier stage."""

    def on_base(optimizer: str, base: list[str], loss: float = 1.0) -> Row:
        changes = {"base": base, "start": {"validation_loss": {0: loss, 1: 2.0}}}
        return row(optimizer).model_copy(update=changes)

    muon = on_base("muon", ["adamw"])
    assert is_paired([Pair(row("muon"), row("adamw"))])  # no earlier stage
    assert is_paired([Pair(muon, on_base("adamw", ["adamw"]))])
    assert not is_paired([Pair(muon, on_base("adamw", ["muon"]))])
    assert not is_paired([Pair(muon, on_base("adamw", ["adamw"], loss=1.1))])  # pretrained with another decay, say
    assert not is_paired([Pair(muon, row("adamw"))])


@each(
    ("typed", "label"),
    [
        ("muon on adamw", "muon on adamw"),
        ("adamw>muon", "muon on adamw"),  # until 0.2
        ("muon", "muon"),
        ("my/folder/file.py:Mine", "file.py:Mine"),
        ("my/folder/file.py:Mine on adamw", "file.py:Mine on adamw"),
        ("a run on file/file.py:Mine", "file.py:Mine"),  # the folder has the word in its name
    ],
)
def test_a_row_is_meant_by_the_name_that_tables_show(typed: str, label: str) -> None:
    rows = [row("muon"), row("file.py:Mine")]
    rows += [row(name).model_copy(update={"base": ["adamw"]}) for name in ("muon", "file.py:Mine")]
    assert [found.label for found in of_optimizer(rows, typed, "--versus")] == [label]


def test_rows_are_alike_where_they_lie_at_one_place_of_the_card_s_axes() -> None:
    muon, adamw = ([row(name).model_copy(update={"axes": {"decay": decay}}) for decay in (0.1, 0.2)]
                   for name in ("muon", "adamw"))  # fmt: skip
    assert [counterpart(of_muon, adamw, apart_from="label") for of_muon in muon] == adamw
