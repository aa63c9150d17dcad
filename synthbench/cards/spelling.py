"""Old spellings of a runner card's keys, read for one version: they are renamed, and one line says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

RENAMED = {
    "arms": "variants",
    "reading.speed": "reading.target_step",
    "reading.speeds": "reading.target_steps",
}
UNTIL = "0.2"  # the version that no longer reads them


def renewed(content: dict[str, Any], origin: str) -> dict[str, Any]:
    """A runner card's content as it was read, with today's names of its keys and of the paths in its scales.

    origin: where it was read from, for the notice on standard error.
    """
    used = []
    for old, new in RENAMED.items():
        *above, key = old.split(".")
        table: Any = content
        for part in above:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and key in table:
            table[new.rpartition(".")[2]] = table.pop(key)
            used.append(old)
    scales: Any = content.get("scales")
    for name, scale in scales.items() if isinstance(scales, dict) else ():
        if isinstance(scale, dict):
            used += [spelling for path in scale if (spelling := _old(path.split(".")))]
            scales[name] = {".".join(_new(path.split("."))): value for path, value in scale.items()}
    _notice(used, origin)
    return content


def renewed_paths(paths: Sequence[list[str]], origin: str) -> list[list[str]]:
    """Paths in a card, such as those of `--set`, with today's names."""
    _notice([old for path in paths if (old := _old(path))], origin)
    return [_new(path) for path in paths]


def _old(path: Sequence[str]) -> str | None:
    """The old spelling that a path begins with, if it does."""
    return next((old for old in RENAMED if list(path[: old.count(".") + 1]) == old.split(".")), None)


def _new(path: Sequence[str]) -> list[str]:
    old = _old(path)
    return [*RENAMED[old].split("."), *path[old.count(".") + 1 :]] if old else list(path)


def _notice(used: Sequence[str], origin: str) -> None:
    if used:
        names = ", ".join(f"{old} is now {RENAMED[old]}" for old in dict.fromkeys(used))
        print(f"synthbench: {origin}: {names}; old names are read until version {UNTIL}.", file=sys.stderr)
