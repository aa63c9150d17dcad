"""Checks of a small baseline: every level, another implementation, refusals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench.common.errors import BadInput, NotMeasured
from synthbench.gate import baseline as baselines
from synthbench.gate import commands, comparison
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import described
from synthbench.gate.check import CheckResult
from tests.each import each
from tests.gate import small

Check = Callable[..., CheckResult]


def test_a_baseline_is_read_as_it_was_written_and_is_small(recorded: Baseline, folder: Path) -> None:
    assert baselines.read(folder / "adamw.json") == recorded
    assert len((folder / "adamw.json").read_text().splitlines()) < 150
    assert recorded.card.seed_list == list(range(6))
    assert recorded.card.stages[0].lr == {"adamw": {"full": [1e-3]}}
    assert recorded.card.stages[1].lr == {"adamw": {"full": [2e-3], "lora-4": [2e-3]}}
    assert set(recorded.trace.values) == {"pretrain/full", "finetune/full", "finetune/lora-4"}
    seen = recorded.behaviour
    assert set(seen.values) == set(recorded.trace.values) == set(seen.curves)
    left = {"early_loss", "weight_norm.hidden", "update_rank.hidden"}
    assert {"learning", "kl_new", "update_norm.hidden", *left} <= seen.values["finetune/full"].keys()
    assert {"weight_norm.A", "update_rank.B"} <= seen.values["finetune/lora-4"].keys()
    assert seen.values["pretrain/full"].keys() == {"early_loss"}
    assert all(floor >= 1e-5 for own in recorded.trace.floors.values() for floor in own.values())


@pytest.mark.parametrize("level", [None, *comparison.LEVELS])
def test_the_same_code_is_unchanged_at_every_level(checked: Check, level: str | None) -> None:
    found = checked(level=level)
    assert (found.verdict, found.cause) == ("unchanged", None)
    assert found.level == (level or "trace")
    assert all(abs(line.difference) <= line.allowed for line in found.lines)


def test_kept_results_are_compared_without_training(checked: Check, recorded: Baseline, folder: Path) -> None:
    found = checked(results=folder / "results")
    assert (found.verdict, found.level) == ("unchanged", "behaviour")
    assert all(line.difference == 0 for line in found.lines)
    with pytest.raises(BadInput, match=r"--results .*nowhere"):
        checked(results=folder / "nowhere")
    assert not (folder / "nowhere").exists()
    with pytest.raises(NotMeasured, match="3 of the 21 runs"):
        checked(small.with_card(recorded, seeds=7), results=folder / "results")


def test_torch_s_own_class_is_the_same_optimizer_and_another_is_said_to_be_another(checked: Check) -> None:
    found = checked(optimizer=torch.optim.AdamW)
    assert (found.verdict, found.optimizer) == ("unchanged", "torch.optim:AdamW")
    found = checked(optimizer="torch.optim:NAdam")
    assert found.verdict == "changed"
    assert "torch.optim:NAdam" in str(found.cause)


def test_an_argument_and_a_routing_are_named_as_the_cause(checked: Check) -> None:
    found = checked(settings=["optimizer.eps=1e-4"])
    assert found.verdict == "changed"
    steps = {line.what: line.step for line in found.lines if line.where == "pretrain/full"}
    assert steps["update.hidden"] == 1  # the first step that is taken
    assert steps["loss"] != 1  # which is of the start
    assert "eps: 1e-08 before, 0.0001 now" in str(found.cause)
    found = checked(optimizer="torch.optim:AdamW", settings=["routing=hidden", "optimizer.eps=1e-4"])
    assert "routing (*norm* to adamw, layers.* to itself, * to adamw" in str(found.cause)


def test_half_a_rate_changes_the_scores_too(checked: Check, recorded: Baseline) -> None:
    """With six seeds and ten steps the updates' norms tell; scores of so short a training need not."""
    stages: Any = recorded.card.stages
    halves = [{"adamw": {update: [own[0] / 2] for update, own in stage.lr["adamw"].items()}} for stage in stages]
    slower = [stage.model_copy(update={"lr": lr}) for stage, lr in zip(stages, halves, strict=True)]
    found = checked(small.with_card(recorded, stages=slower), level="behaviour")
    assert found.verdict == "changed"
    changed = {line.what for line in found.lines if line.verdict == "changed"}
    assert changed >= {"update_norm.hidden", "update_norm.embedding"}


def test_other_data_is_not_compared_nor_bits_where_they_need_not_be_the_same(
    checked: Check, recorded: Baseline
) -> None:
    with pytest.raises(NotMeasured, match=r"tiny-task .*000000000000"):
        checked(recorded.model_copy(update={"tasks": {"tiny-task": "0" * 64}}))
    others: dict[str, Any] = {"versions": {"torch": "1.0"}, "package": "0" * 64, "machine": "an abacus"}
    for (key, value), said in zip(others.items(), ("torch 1.0", "000000000000", "an abacus"), strict=True):
        with pytest.raises(NotMeasured, match=f"--level exact .*{said}"):
            checked(recorded.model_copy(update={key: value}), level="exact")
    assert checked(recorded.model_copy(update=others)).verdict == "unchanged"


def test_a_baseline_of_another_device_is_compared_by_its_scores(checked: Check, recorded: Baseline) -> None:
    other = recorded.model_copy(update={"device": "cuda"})
    with pytest.raises(NotMeasured, match=r"cuda.* cpu"):
        checked(other, level="trace", device="cpu")
    assert checked(other, device="cpu").level == "behaviour"


@each(
    ("wanted", "said"),
    [
        ({"level": "traces"}, "traces.*trace"), ({"level": "trace", "results": Path()}, "--level behaviour"),
        ({"level": "trace", "seeds": 5}, "--budget .*--level behaviour"), ({"optimizer": "adamv"}, "adamv.*adamw"),
        ({"settings": ["stages.finetune.steps=3"]}, "stages.finetune.steps"),
        ({"settings": ["routing=hidden"]}, "routing=hidden"),
        ({"settings": ["optimizer.betas=3"]}, "betas.*--set|--set.*betas"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(checked: Check, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        checked(**wanted)


def test_arguments_that_another_optimizer_does_not_take_are_named(checked: Check, recorded: Baseline) -> None:
    given = small.with_card(recorded, arguments={"adamw": {"betas": [0.9, 0.95]}})
    assert "torch.optim:RMSprop takes no betas" in checked(given, optimizer="torch.optim:RMSprop").notes[0]


def test_a_baseline_that_names_code_says_so_before_it_runs(
    checked: Check, recorded: Baseline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.AdamW):\n    pass\n")
    found = checked(recorded.model_copy(update={"optimizer": f"{tmp_path}/mine.py:Mine"}))
    assert found.verdict == "unchanged"
    assert f"{tmp_path}/mine.py" in capsys.readouterr().err


def test_results_without_weights_are_inconclusive_about_them_and_say_so(
    checked: Check, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "results"
    shutil.copytree(folder / "results", place)
    for file in (place / "weights").iterdir():
        file.unlink()
    found = checked(results=place)
    assert found.verdict == "inconclusive"
    untold = {line.what for line in found.lines if line.verdict == "inconclusive"}
    assert untold >= {"weight_norm.hidden", "update_rank.B"}
    assert "--keep-weights all" in found.notes[0]


def test_a_score_of_one_side_alone_or_of_another_version_is_inconclusive(recorded: Baseline) -> None:
    seen = recorded.behaviour
    less = {where: {name: own[name] for name in own if name != "learning"} for where, own in seen.values.items()}
    more = {where: own | {"another_score": dict.fromkeys(range(6), 0.5)} for where, own in seen.values.items()}
    fewer, unknown = (described(values, seen.diverged, seen.curves) for values in (less, more))
    cases = ((seen, fewer, "learning"), (fewer, seen, "learning"), (unknown, seen, "another_score"))
    for before, after, what in cases:
        lines = comparison.behaviour(before, after, range(6))
        assert {line.what for line in lines if line.verdict != "unchanged"} == {what}
        assert comparison.overall(lines) == "inconclusive"


def test_uninformative_traces_leave_it_to_the_scores_and_are_reported_when_recorded(
    recorded: Baseline, checked: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rounding error dominates the traces of full finetuning."""
    floors = recorded.trace.floors | {"finetune/full": dict.fromkeys(recorded.trace.floors["finetune/full"], 0.02)}
    blind = small.with_trace(recorded, floors=floors)
    found = checked(blind)
    assert (found.level, found.verdict) == ("behaviour", "unchanged")
    assert "finetune/full" in found.notes[0]
    assert checked(blind, level="trace").verdict == "inconclusive"
    capsys.readouterr()
    said = []
    for found in (recorded, blind):
        commands._show_summary(found, Path("b.json"))
        said.append(capsys.readouterr().out)
    assert said[1].count("finetune/full") > said[0].count("finetune/full")
