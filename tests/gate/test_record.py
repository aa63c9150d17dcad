"""What is recorded: the runs that were asked for, at the rate that was chosen, of seeds enough, with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.gate import baseline as baselines
from synthbench.gate.check import CheckRequest, check
from synthbench.gate.commands import options
from tests.calling import Caller
from tests.each import each
from tests.gate import small


@each(
    ("asked", "said"),
    [
        ({"settings": ["stages.finetune.weight_decay=[0,0.1]"]}, "finetune"),
        ({"settings": ["stages.finetune.sizes=[1,0.5]"]}, "finetune"), ({"seeds": 4}, "at least 5 are needed"),
    ],
)  # fmt: skip
def test_several_rows_an_update_and_too_few_seeds_are_no_baseline(
    asked: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=said):
        small.baseline(tmp_path, **asked)


def test_the_norm_of_weights_is_that_of_the_chosen_rate(tmp_path: Path) -> None:
    """The chosen rate is not the last one that was tried, and the check takes it alone."""
    found = small.baseline(tmp_path, lr=[1e-2, 1e-5], seeds=5)
    assert found.card.stages[-1].lr == {"adamw": {"full": [1e-2], "lora-4": [1e-2]}}
    again = check(found, "the baseline", CheckRequest(level="behaviour"), options(1, True, "a test"))
    assert again.verdict == "unchanged"
    assert all(line.difference == 0 for line in again.lines)


def test_what_else_a_folder_holds_is_not_recorded(call: Caller, tmp_path: Path) -> None:
    """Runs of another update and of more seeds on the same card stand in the same folder."""
    card, place = small.card(tmp_path), f"{tmp_path}/results"
    more = "--optimizer adamw,sgd --update full,lora-2 --seeds 6 --keep-weights all"
    assert call(f"run {card} {more} --out {place} --jobs 1 --quiet").code == 0
    command = f"baseline {card} --optimizer adamw --seeds 5 {small.FULL} --results {place} --jobs 1 --quiet"
    assert call(f"{command} -o {tmp_path}/b.json").code == 0
    values = baselines.read(tmp_path / "b.json").behaviour.values
    assert values.keys() == {"pretrain/full", "finetune/full"}
    assert {*values["finetune/full"]["learning"]} == {0, 1, 2, 3, 4}
    found = call(f"check {tmp_path}/b.json --results {place} --jobs 1 --quiet")
    assert (found.code, found.err) == (0, "")


@each("stage", ["pretrain", "finetune"])
def test_where_all_diverges_there_is_nothing_to_record(stage: str, call: Caller, tmp_path: Path) -> None:
    more = f"--seeds 5 --set stages.{stage}.lr=[1e6] {small.FULL} --quiet"
    code, _, err = call(f"baseline {small.card(tmp_path)} --optimizer sgd -o {tmp_path}/b.json {more}")
    assert code == 3
    assert stage in err
    assert not (tmp_path / "b.json").exists()


def test_results_without_weights_are_no_baseline(call: Caller, tmp_path: Path) -> None:
    card = f"{small.card(tmp_path)} --optimizer adamw --seeds 5 {small.FULL} --quiet"
    assert call(f"run {card} --out {tmp_path}/r --keep-weights none").code == 0
    code, _, err = call(f"baseline {card} --results {tmp_path}/r -o {tmp_path}/b.json")
    assert code == 3
    assert "--keep-weights all" in err
