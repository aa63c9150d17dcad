"""Baselines whose traces rounding parts too far: told when they are recorded, and left to the scores when checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthbench.gate import check, commands
from synthbench.gate.baseline import Baseline
from synthbench.gate.check import Checked, Wanted
from synthbench.gate.commands import options
from tests.gate import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blind")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Baseline:
    return small.baseline(folder)


def checked(recorded: Baseline, **wanted: Any) -> Checked:
    return check.check(recorded, "the baseline", Wanted(**wanted), options(1, True, "a test"))


def test_traces_that_tell_nothing_leave_it_to_the_scores(recorded: Baseline) -> None:
    floors = {where: dict.fromkeys(own, 0.02) for where, own in recorded.trace.floors.items()}
    blind = recorded.model_copy(update={"trace": recorded.trace.model_copy(update={"floors": floors})})
    found = checked(blind)
    assert (found.level, found.verdict) == ("behaviour", "unchanged")
    assert "tell nothing" in found.notes[0]
    assert checked(blind, level="trace").verdict == "could not tell"


def test_whoever_records_traces_that_tell_nothing_is_told(
    recorded: Baseline, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floors = recorded.trace.floors | {"finetune/full": dict.fromkeys(recorded.trace.floors["finetune/full"], 0.02)}
    blind = recorded.model_copy(update={"trace": recorded.trace.model_copy(update={"floors": floors})})
    for found, said in ((recorded, "Traces of 2 seeds find"), (blind, "The traces of finetune/full tell nothing")):
        commands.summary(found, folder / "b.json")
        assert said in " ".join(capsys.readouterr().out.split())
