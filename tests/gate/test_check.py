"""Checks of a small baseline: every level, another implementation, invalid requests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench.common.errors import BadInput, NotMeasured
from synthbench.gate import baseline as baselines
from synthbench.gate import commands, comparison, explain
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import described
from synthbench.gate.check import CheckResult
from tests.each import each
from tests.gate import small

Check = Callable[..., CheckResult]


def test_a_baseline_round_trips_through_a_small_file(recorded: Baseline, folder: Path) -> None:
    assert baselines.read(folder / "adamw.json") == recorded
    assert len((folder / "adamw.json").read_text().splitlines()) < 150
    assert recorded.card.seed_list == list(range(6))
    assert recorded.card.stages[0].lr == {"adamw": {"full": [1e-3]}}
    assert recorded.card.stages[1].lr == {"adamw": {"full": [2e-3], "lora-4": [2e-3]}}
    assert set(recorded.trace.values) == {"pretrain/full", "finetune/full", "finetune/lora-4"}
    behaviour = recorded.behaviour
    assert set(behaviour.values) == set(recorded.trace.values) == set(behaviour.curves)
    beside_scores = {"early_loss", "weight_norm.hidden", "update_rank.hidden"}
    assert {"learning", "kl_new", "update_norm.hidden", *beside_scores} <= behaviour.values["finetune/full"].keys()
    assert {"weight_norm.A", "update_rank.B"} <= behaviour.values["finetune/lora-4"].keys()
    assert behaviour.values["pretrain/full"].keys() == {"early_loss"}
    assert all(floor >= 1e-5 for floors in recorded.trace.floors.values() for floor in floors.values())


@pytest.mark.parametrize("level", [None, *comparison.LEVELS])
def test_the_same_code_is_unchanged_at_every_level(checked: Check, level: str | None) -> None:
    result = checked(level=level)
    assert (result.verdict, result.cause) == ("unchanged", None)
    assert result.level == (level or "trace")
    assert all(abs(line.difference) <= line.allowed for line in result.lines)


def test_kept_results_are_compared_without_training(checked: Check, recorded: Baseline, folder: Path) -> None:
    result = checked(results=folder / "results")
    assert (result.verdict, result.level) == ("unchanged", "behaviour")
    assert all(line.difference == 0 for line in result.lines)
    with pytest.raises(BadInput, match=r"--results .*nowhere"):
        checked(results=folder / "nowhere")
    assert not (folder / "nowhere").exists()
    with pytest.raises(NotMeasured, match="3 of the 21 runs"):
        checked(small.with_card(recorded, seeds=7), results=folder / "results")


def test_the_class_of_torch_is_unchanged_and_another_class_is_named_as_the_cause(checked: Check) -> None:
    result = checked(optimizer=torch.optim.AdamW)
    assert (result.verdict, result.optimizer) == ("unchanged", "torch.optim:AdamW")
    result = checked(optimizer="torch.optim:NAdam")
    assert result.verdict == "changed"
    assert "torch.optim:NAdam" in str(result.cause)


def test_an_argument_and_a_routing_are_named_as_the_cause(checked: Check) -> None:
    result = checked(settings=["optimizer.eps=1e-4"])
    assert result.verdict == "changed"
    steps = {line.what: line.step for line in result.lines if line.where == "pretrain/full"}
    assert steps["update.hidden"] == 1  # the first step
    assert steps["loss"] != 1  # the loss before that step
    assert "eps: 1e-08 before, 0.0001 now" in str(result.cause)
    result = checked(optimizer="torch.optim:AdamW", settings=["routing=hidden", "optimizer.eps=1e-4"])
    assert "routing (*norm* to adamw, layers.* to itself, * to adamw" in str(result.cause)


def test_causes_are_listed_routing_first_then_arguments_code_and_versions(recorded: Baseline) -> None:
    changed = {"routing": [("layers.*", "adamw"), ("*", "adamw")], "arguments": {"eps": 1.0}, "source": "other"}
    after = recorded.model_copy(
        update={
            "spec": recorded.spec.model_copy(update=changed),
            "versions": {"torch": "0"},
            "package": "other",
            "machine": "other",
        }
    )
    causes = explain.differences(recorded, after)
    beginnings = (
        "its routing",
        "its arguments",
        "the optimizer's code",
        "versions",
        "synthbench's training",
        "the processor",
    )
    assert len(causes) == len(beginnings)
    for cause, beginning in zip(causes, beginnings, strict=True):
        assert cause.startswith(beginning)
    stages = [stage.model_copy(update={"lr": {"adamw": {"full": [9.0]}}, "steps": 3}) for stage in recorded.card.stages]
    cards = explain.cards(recorded.card, recorded.card.model_copy(update={"stages": stages}))
    assert [cause.partition(" (")[0] for cause in cards] == ["learning rates", "the card"]


def test_half_the_learning_rate_changes_the_scores_too(checked: Check, recorded: Baseline) -> None:
    """Norms of updates change with six seeds and ten steps; scores need not after so little training."""
    stages: Any = recorded.card.stages
    halves = [{"adamw": {update: [rates[0] / 2] for update, rates in stage.lr["adamw"].items()}} for stage in stages]
    slower = [stage.model_copy(update={"lr": lr}) for stage, lr in zip(stages, halves, strict=True)]
    result = checked(small.with_card(recorded, stages=slower), level="behaviour")
    assert result.verdict == "changed"
    changed = {line.what for line in result.lines if line.verdict == "changed"}
    assert changed >= {"update_norm.hidden", "update_norm.embedding"}


def test_other_data_is_rejected_and_level_exact_needs_the_same_environment(checked: Check, recorded: Baseline) -> None:
    with pytest.raises(NotMeasured, match=r"tiny-task .*000000000000"):
        checked(recorded.model_copy(update={"tasks": {"tiny-task": "0" * 64}}))
    differences: dict[str, Any] = {"versions": {"torch": "1.0"}, "package": "0" * 64, "machine": "an abacus"}
    for (key, value), message in zip(differences.items(), ("torch 1.0", "000000000000", "an abacus"), strict=True):
        with pytest.raises(NotMeasured, match=f"--level exact .*{message}"):
            checked(recorded.model_copy(update={key: value}), level="exact")
    assert checked(recorded.model_copy(update=differences)).verdict == "unchanged"


def test_a_baseline_of_another_device_is_compared_by_its_scores(checked: Check, recorded: Baseline) -> None:
    on_cuda = recorded.model_copy(update={"device": "cuda"})
    with pytest.raises(NotMeasured, match=r"cuda.* cpu"):
        checked(on_cuda, level="trace", device="cpu")
    assert checked(on_cuda, device="cpu").level == "behaviour"


@each(
    ("arguments", "message"),
    [
        ({"level": "traces"}, "traces.*trace"), ({"level": "trace", "results": Path()}, "--level behaviour"),
        ({"level": "trace", "seeds": 5}, "--budget .*--level behaviour"), ({"optimizer": "adamv"}, "adamv.*adamw"),
        ({"settings": ["stages.finetune.steps=3"]}, "stages.finetune.steps"),
        ({"settings": ["routing=hidden"]}, "routing=hidden"),
        ({"settings": ["optimizer.betas=3"]}, "betas.*--set|--set.*betas"),
    ],
)  # fmt: skip
def test_an_invalid_request_is_rejected(checked: Check, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        checked(**arguments)


def test_arguments_that_another_optimizer_does_not_take_are_named(checked: Check, recorded: Baseline) -> None:
    baseline = small.with_card(recorded, arguments={"adamw": {"betas": [0.9, 0.95]}})
    assert "torch.optim:RMSprop takes no betas" in checked(baseline, optimizer="torch.optim:RMSprop").notes[0]


def test_a_warning_is_printed_before_the_code_of_a_baseline_runs(
    checked: Check, recorded: Baseline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.AdamW):\n    pass\n")
    result = checked(recorded.model_copy(update={"optimizer": f"{tmp_path}/mine.py:Mine"}))
    assert result.verdict == "unchanged"
    assert f"{tmp_path}/mine.py" in capsys.readouterr().err


def test_results_without_weights_are_inconclusive_in_measures_of_weights(
    checked: Check, folder: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(folder / "results", results)
    for file in (results / "weights").iterdir():
        file.unlink()
    result = checked(results=results)
    assert result.verdict == "inconclusive"
    inconclusive = {line.what for line in result.lines if line.verdict == "inconclusive"}
    assert inconclusive >= {"weight_norm.hidden", "update_rank.B"}
    assert "--keep-weights all" in result.notes[0]


def test_a_score_that_only_one_side_has_is_inconclusive(recorded: Baseline) -> None:
    behaviour = recorded.behaviour
    cells, new = behaviour.values, {"another_score": dict.fromkeys(range(6), 0.5)}
    less = {cell: {name: scores[name] for name in scores if name != "learning"} for cell, scores in cells.items()}
    more = {cell: scores | new for cell, scores in cells.items()}
    fewer_scores, more_scores = (described(values, behaviour.diverged, behaviour.curves) for values in (less, more))
    cases = (
        (behaviour, fewer_scores, "learning"), (fewer_scores, behaviour, "learning"),
        (more_scores, behaviour, "another_score"),
    )  # fmt: skip
    for before, after, what in cases:
        lines = comparison.behaviour(before, after, range(6))
        assert {line.what for line in lines if line.verdict != "unchanged"} == {what}
        assert comparison.overall(lines) == "inconclusive"


def test_uninformative_traces_are_reported_and_replaced_by_scores(
    recorded: Baseline, checked: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rounding error dominates the traces of full finetuning."""
    floors = recorded.trace.floors | {"finetune/full": dict.fromkeys(recorded.trace.floors["finetune/full"], 0.02)}
    uninformative = small.with_trace(recorded, floors=floors)
    result = checked(uninformative)
    assert (result.level, result.verdict) == ("behaviour", "unchanged")
    assert "finetune/full" in result.notes[0]
    assert checked(uninformative, level="trace").verdict == "inconclusive"
    capsys.readouterr()
    summaries = []
    for baseline in (recorded, uninformative):
        commands._show_summary(baseline, Path("b.json"))
        summaries.append(capsys.readouterr().out)
    assert summaries[1].count("finetune/full") > summaries[0].count("finetune/full")
