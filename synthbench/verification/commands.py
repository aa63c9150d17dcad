"""`synthbench verify`: prints a verification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthbench.common import overrides
from synthbench.common.errors import Refuted
from synthbench.verification import api


def verify(
    out: Path, run: str | None, *, optimizer: str | None, task: str | None, steps: int, settings: Sequence[str] = ()
) -> None:
    """`synthbench verify`. settings: as `--set` takes them. Raises Refuted where a check fails."""
    from rich.console import Console

    parsed = {".".join(path): value for path, value in map(overrides.parse, settings)}
    with Console(stderr=True).status("", spinner="line"):
        verification = api.verify(optimizer, task=task, run=run, out=out, steps=steps, settings=parsed)
    print(verification)
    if verification.failure:
        raise Refuted(verification.failure)
