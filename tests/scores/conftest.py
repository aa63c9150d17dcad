"""One thread, as in a worker; hypothesis tries the same cases everywhere and does not watch the clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
