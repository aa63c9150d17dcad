"""What the gate's commands take, timed through the front door."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("20s", "60s")  # budgets that a baseline of sixteen seeds has seeds for


def rows() -> Iterator[list[str]]:
    """Command and seconds: of AdamW and the others recorded, checked by default and by scores, and AdamW within budgets."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("adamw", "muon", "sgd"):
            yield timed(folder, f"baseline --optimizer {name} -o {name}.json")
            yield timed(folder, f"check {name}.json")
            yield timed(folder, f"check {name}.json --level behaviour")
        for budget in SHORT:
            yield timed(folder, f"check adamw.json --budget {budget}")


def timed(folder: str, command: str) -> list[str]:
    """A command that must succeed, and its seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "synthbench", *command.split(), "--quiet"], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    return [f"`synthbench {command}`", f"{time.monotonic() - began:.0f}"]
