"""One thread, as in a worker: then a member is bitwise the same whatever its fleet. Hypothesis tries the same cases
everywhere and does not watch the clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from synthbench import plugins
from synthbench.generators import GENERATORS
from synthbench.trainer.rules import OPTIMIZERS, RULES
from tests.calling import Caller

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Puts back what a test registers: optimizers and generators from elsewhere."""
    registries: list[dict[Any, Any]] = [OPTIMIZERS, RULES, GENERATORS, plugins.TAKEN, plugins.generators.TAKEN]
    before = [dict(registry) for registry in registries]
    yield
    for registry, old in zip(registries, before, strict=True):
        registry.clear()
        registry.update(old)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capfd)
