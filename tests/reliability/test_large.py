"""A large store that is damaged, or whose driver is killed: the campaigns, on a study of a thousand runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.reliability import large

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


def test_changed_runs_are_trained_again_and_no_others(tmp_path: Path) -> None:
    campaign = large.changed(tmp_path / "study", 40, seed=2, size=1000)
    assert campaign.trials == 40
    assert campaign.violations == []


def test_a_killed_driver_loses_no_finished_run_and_hands_none_out_again(tmp_path: Path) -> None:
    campaign = large.driver(tmp_path / "study", 1, seed=2, size=1000, left=950)
    assert campaign.outcomes == {"driver killed": 1}
    assert campaign.violations == []
