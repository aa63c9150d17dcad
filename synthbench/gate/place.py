"""Where the runs of a baseline or a check are kept: a folder that was named, or one that is gone afterwards, so that a
check always measures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="synthbench-") as temporary:
        yield Path(temporary)
