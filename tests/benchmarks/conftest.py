"""Benchmarks run on two cores, the size of machine that `quick` is made for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Keeps this process, and those it starts, to two cores."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip(f"needs two cores, and this process may use {len(cores)}")
    os.sched_setaffinity(0, cores[:2])
    yield
    os.sched_setaffinity(0, cores)
