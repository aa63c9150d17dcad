"""Workers that are forked, not spawned: they have what was patched in this process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def forked() -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    with patch("synthbench.experiment.crew.multiprocessing.get_context", lambda kind: context):
        yield
