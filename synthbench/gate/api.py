"""The gate from Python: `synthbench.check(file, optimizer=MyAdamW)`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthbench.common.overrides import written
from synthbench.common.wording import named
from synthbench.gate import stored
from synthbench.gate.check import Checked, CheckRequest
from synthbench.gate.check import check as compare
from synthbench.gate.commands import options, seeds


def check(
    file: str | Path, *, optimizer: Any = None, level: str | None = None, settings: Mapping[str, Any] | None = None,
    budget: str | None = None, results: str | Path | None = None, jobs: int | None = None, quiet: bool = True,
) -> Checked:  # fmt: skip
    """Measures again what a baseline recorded, and compares; `.verdict` is `changed`, `unchanged` or `could not tell`.

    file: as `synthbench baseline` wrote it. optimizer: another implementation (a name, `path/file.py:Class`, a
    `torch.optim.Optimizer` class, a rule), none for the recorded one. level: `exact`, `trace` or `behaviour`, none for
    `trace` where the device is of the recorded kind and traces tell something, else `behaviour`; with a budget or results
    `behaviour`. settings: `{"optimizer.ARG": value}`, or `{"routing": "hidden"}`. budget: `20s`, `60s` or `5m`. results: a
    folder of runs to compare, none for training anew.

    Raises BadInput (a ValueError) for what is not allowed, NotMeasured where the two cannot be compared.
    """
    asked = [f"{path}={written(value)}" for path, value in (settings or {}).items()]
    wanted = CheckRequest(optimizer, asked, level, Path(results) if results else None, seeds(budget))
    return compare(
        stored.read(Path(file)), named(file), wanted, options(jobs, quiet, f"synthbench.check({str(file)!r})")
    )
