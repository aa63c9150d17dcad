"""What is recorded: the runs that were asked for, at the rate that was chosen, of seeds enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.errors import BadInput
from synthbench.gate import stored
from synthbench.gate.check import Wanted, check
from synthbench.gate.commands import options
from tests.calling import Caller
from tests.gate import small


@pytest.mark.parametrize("setting", ["stages.finetune.weight_decay=[0,0.1]", "stages.finetune.sizes=[1,0.5]"])
def test_several_rows_an_update_are_no_baseline(setting: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="one weight decay and one size; stage finetune"):
        small.baseline(tmp_path, settings=[setting])


def test_too_few_seeds_are_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="of 4 seeds tells nothing of scores; give 5 or more"):
        small.baseline(tmp_path, seeds=4)


def test_the_norm_of_weights_is_that_of_the_chosen_rate(tmp_path: Path) -> None:
    """The chosen rate is not the last one that was tried, and the check takes it alone."""
    found = small.baseline(tmp_path, lr=[1e-2, 1e-5])
    assert found.card.stages[-1].lr == {"adamw": {"full": [1e-2], "lora-4": [1e-2]}}
    again = check(found, "the baseline", Wanted(level="behaviour"), options(1, True, "a test"))
    assert again.verdict == "unchanged"
    assert all(line.difference == 0 for line in again.lines)


def test_what_else_a_folder_holds_is_not_recorded(call: Caller, tmp_path: Path) -> None:
    """Runs of another update and of more seeds on the same card stand in the same folder."""
    card, place = small.card(tmp_path), tmp_path / "results"
    more = f"run {card} --optimizer adamw,sgd --update full,lora-2 --seeds 7 --out {place} --keep-weights all --jobs 1"
    assert call(f"{more} --quiet").code == 0
    command = f"baseline {card} --optimizer adamw --seeds 5 -o {tmp_path}/b.json --results {place} --jobs 1 --quiet"
    assert call(command).code == 0
    assert stored.read(tmp_path / "b.json").behaviour.values.keys() == {
        "pretrain/full", "finetune/full", "finetune/lora-4",
    }  # fmt: skip
    found = call(f"check {tmp_path}/b.json --results {place} --jobs 1 --quiet")
    assert (found.code, found.err) == (0, "")
