"""Recording: the requested runs, at the chosen learning rate, with enough seeds and with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.gate import baseline as baselines
from synthbench.gate.check import CheckRequest, check
from synthbench.gate.commands import options
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.gate import small


@each(
    ("arguments", "message"),
    [
        ({"settings": [tiny.axis("stages.finetune.weight_decay", [0,0.1])]}, "axes"),
        ({"settings": [tiny.axis("stages.finetune.size", [1,0.5])]}, "axes"), ({"seeds": 4}, "at least 5 are needed"),
    ],
)  # fmt: skip
def test_several_rows_per_update_and_too_few_seeds_are_rejected(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        small.baseline(tmp_path, **arguments)


def test_measures_of_weights_are_of_the_chosen_learning_rate(tmp_path: Path) -> None:
    """The chosen rate is not the last of the grid; the check trains no other."""
    baseline = small.baseline(tmp_path, lr=[1e-2, 1e-5], seeds=5)
    assert baseline.card.stages[-1].lr == {"adamw": {"full": [1e-2], "lora-4": [1e-2]}}
    result = check(baseline, "the baseline", CheckRequest(level="behaviour"), options(1, quiet=True, command="a test"))
    assert result.verdict == "unchanged"
    assert all(line.difference == 0 for line in result.lines)


def test_other_runs_in_the_folder_are_not_recorded(call: Caller, tmp_path: Path) -> None:
    """Runs with another update and with more seeds on the same card are in the same folder."""
    card, results = small.card(tmp_path), f"{tmp_path}/results"
    options = "--optimizer adamw,sgd --update full,lora-2 --seeds 6 --keep-weights all"
    assert call(f"run {card} {options} --out {results} --jobs 1 --quiet").code == 0
    command = f"baseline {card} --optimizer adamw --seeds 5 {small.FULL} --results {results} --jobs 1 --quiet"
    assert call(f"{command} -o {tmp_path}/b.json").code == 0
    values = baselines.read(tmp_path / "b.json").behaviour.values
    assert values.keys() == {"pretrain/full", "finetune/full"}
    assert {*values["finetune/full"]["learning"]} == {0, 1, 2, 3, 4}
    completed = call(f"check {tmp_path}/b.json --results {results} --jobs 1 --quiet")
    assert (completed.code, completed.err) == (0, "")


@each("stage", ["pretrain", "finetune"])
def test_nothing_is_recorded_where_every_run_diverges(stage: str, call: Caller, tmp_path: Path) -> None:
    options = f"--seeds 5 --set stages.{stage}.lr=[1e6] {small.FULL} --quiet"
    code, _, err = call(f"baseline {small.card(tmp_path)} --optimizer sgd -o {tmp_path}/b.json {options}")
    assert code == 3
    assert stage in err
    assert not (tmp_path / "b.json").exists()


def test_results_without_weights_are_rejected(call: Caller, tmp_path: Path) -> None:
    options = f"{small.card(tmp_path)} --optimizer adamw --seeds 5 {small.FULL} --quiet"
    assert call(f"run {options} --path torch --out {tmp_path}/r --keep-weights none").code == 0
    code, _, err = call(f"baseline {options} --results {tmp_path}/r -o {tmp_path}/b.json")
    assert code == 3
    assert "--keep-weights all" in err
