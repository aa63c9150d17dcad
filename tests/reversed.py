"""A plug-in for pytest: the tests in reversed order, `python -m pytest -p tests.reversed`."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.reverse()
