"""A baseline's file: small JSON that is made to be committed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthbench.cards import TaskCard, is_path
from synthbench.cards.finding import split
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.validation import message
from synthbench.common.wording import named, shown
from synthbench.gate.baseline import FORMAT, Baseline
from synthbench.gate.whole import lack

MOST_BYTES = 2**24


def text(found: Baseline) -> str:
    """As it is written: JSON in which whoever reads a diff finds a score, or a trace, on a line of its own."""
    return _dump(found.model_dump(mode="json", by_alias=True), 0) + "\n"


def _dump(value: Any, depth: int) -> str:
    if not isinstance(value, Mapping) or not value or not any(isinstance(one, Mapping) for one in value.values()):
        return json.dumps(value, separators=(", ", ": "), allow_nan=False)
    inner = " " * (depth + 1)
    lines = [f"{inner}{json.dumps(str(key))}: {_dump(one, depth + 1)}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def read(path: Path) -> Baseline:
    """A baseline's file; raises BadInput where it is none, NotMeasured where it is of a format that cannot be compared."""
    if not files.is_file(path):
        raise BadInput(
            f"{named(path)} is not a file; make one with: synthbench baseline --optimizer NAME -o {named(path)}."
        )
    written = files.text(path, named(path), MOST_BYTES)
    try:
        content = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{named(path)} is no baseline: it is not JSON ({error}).") from None
    own = content.get("format") if isinstance(content, dict) else None
    if isinstance(own, int) and own != FORMAT:
        raise NotMeasured(
            f"{named(path)} has format {shown(own)}, and this version compares format {FORMAT} only; record it anew "
            "with this version, or check with the version that recorded it."
        )
    try:
        found = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise BadInput(f"{named(path)} is no baseline: {named(where)}: {message(first['msg'])}.") from None
    if lacking := lack(found):
        raise BadInput(f"{named(path)} is not whole: {lacking}.")
    return with_paths(found, lambda written: os.path.normpath(path.resolve().parent / written))


def write(found: Baseline, path: Path) -> None:
    """Writes a baseline, whole or not at all; paths in it are read from its own folder."""
    home = path.parent.resolve()
    files.write(path, text(with_paths(found, lambda own: os.path.relpath(own, home))), f"-o {named(path)}")


def with_paths(found: Baseline, change: Callable[[str], str]) -> Baseline:
    """A baseline whose paths (of a task's card, of an optimizer's file) are changed."""
    where, colon, name = found.optimizer.rpartition(":")
    optimizer = f"{change(where)}:{name}" if colon and where.endswith(".py") else found.optimizer
    tasks = []
    for task in found.card.tasks:
        place, variant = split(TaskCard, task)
        tasks.append((change(place) + (f":{variant}" if variant else "")) if is_path(place) else task)
    return found.model_copy(update={"optimizer": optimizer, "card": found.card.model_copy(update={"tasks": tasks})})
