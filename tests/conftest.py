"""One thread, as in a worker: then a member is bitwise the same whatever its fleet. Hypothesis tries the same cases
everywhere and does not watch the clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.calling import Caller

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capfd)
