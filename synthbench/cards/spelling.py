"""Old spellings of a runner card's keys, read for one version: each is renamed, and one line says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

RENAMED = {
    ("arms",): ("variants",),
    ("reading", "speed"): ("reading", "target_step"),
    ("reading", "speeds"): ("reading", "target_steps"),
}
UNTIL = "0.2"  # the version that no longer reads them


def renewed_path(path: Sequence[str], origin: str) -> list[str]:
    """A path in a card, such as `reading.speed`, by today's names. origin: where it was written, for the notice."""
    for old, new in RENAMED.items():
        if tuple(path[: len(old)]) == old:
            _notice(origin, ".".join(old), ".".join(new))
            return [*new, *path[len(old) :]]
    return list(path)


def renewed(content: dict[str, Any], origin: str) -> dict[str, Any]:
    """A runner card's content as it was read, its keys by today's names; the paths in its scales, too."""
    for old, new in RENAMED.items():
        table = content
        for key in old[:-1]:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        if isinstance(table, dict) and old[-1] in table:
            _notice(origin, ".".join(old), ".".join(new))
            table[new[-1]] = table.pop(old[-1])
    scales: Any = content.get("scales")
    for name, scale in scales.items() if isinstance(scales, dict) else ():
        if isinstance(scale, dict):
            scales[name] = {".".join(renewed_path(path.split("."), origin)): value for path, value in scale.items()}
    return content


def _notice(origin: str, old: str, new: str) -> None:
    print(f"synthbench: {origin}: {old} is now {new}; the old name is read until version {UNTIL}.", file=sys.stderr)
