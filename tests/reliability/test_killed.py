"""Whatever is killed, whenever: nothing finished is lost or trained again, and the end is the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.reliability import killed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.parametrize("trials", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_loses_nothing_and_the_resumed_experiment_ends_as_if_it_had_not_been(
    tmp_path: Path, trials: int
) -> None:
    found = killed.campaign(tmp_path, trials, seed=trials)
    assert found.trials == trials
    assert not found.broken
