"""The gate from Python: `synthbench.baseline` records as the command does, `synthbench.check` compares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import synthbench
from synthbench.gate import baseline as baselines
from tests.gate import small


def test_a_baseline_is_recorded_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, card = tmp_path / "sgd.json", small.card(tmp_path)
    settings = {"stages.finetune.update": ["full"], "optimizer.momentum": 0.5}

    def record(overwrite: bool = False) -> baselines.Baseline:
        return synthbench.baseline(
            "sgd", file=file, runner=card, lr=4e-3, seeds=5, settings=settings, device="cpu", jobs=1,
            results=tmp_path / "runs", overwrite=overwrite,
        )  # fmt: skip

    recorded = record()
    assert capsys.readouterr().out == ""
    assert baselines.read(file) == recorded
    assert recorded.card.stages[-1].lr == {"sgd": {"full": [4e-3]}}
    assert recorded.spec.arguments["momentum"] == 0.5
    assert "lr=0.004" in recorded.command
    with pytest.raises(synthbench.BadInput, match="exists already"):
        record()
    assert record(overwrite=True) == recorded
    assert synthbench.check(file).verdict == "unchanged"
    assert synthbench.check(file, level="behaviour", results=tmp_path / "runs").verdict == "unchanged"
    changed = synthbench.check(file, optimizer=torch.optim.NAdam)
    assert (changed.verdict, changed.optimizer) == ("changed", "torch.optim:NAdam")
    assert synthbench.check(file, settings={"optimizer.momentum": 0.9}).verdict == "changed"


def test_without_a_file_nothing_is_written_and_budget_and_seeds_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = small.card(tmp_path)
    before = {*tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    settings = {"stages.finetune.update": ["full"]}
    recorded = synthbench.baseline("sgd", runner=card, budget="20s", settings=settings, device="cpu", jobs=1)
    assert len(recorded.card.seed_list) == 5
    assert {*tmp_path.iterdir()} == before
    with pytest.raises(synthbench.BadInput, match="budget and seeds"):
        synthbench.baseline("sgd", budget="20s", seeds=5)
