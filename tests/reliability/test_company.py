"""Throughput beside a busy competitor. Run with -m timed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.reliability import company


@pytest.mark.timed
@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) != company.WORKERS, reason="as many cores as workers"
)
def test_a_busy_competitor_costs_no_more_than_the_share_of_the_processors_that_it_takes(tmp_path: Path) -> None:
    """In one of three campaigns: what else shares the machine's caches slows the workers, too."""
    assert any(not company.campaign(tmp_path, 3).broken for _ in range(3))
