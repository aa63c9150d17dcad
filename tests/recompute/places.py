"""The rows that a claim means: of each task, and of each value of the axes over which it pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from tests.recompute.rows import Row
from tests.recompute.runs import Object


class Place(NamedTuple):
    """A task, and where its rows lie. label: of what stands there, in `tasks` and `missing`."""

    label: str
    task: str
    update: str
    at: Mapping[str, Any]


def places(wanted: Object, tasks: Sequence[str], along: str | None = None) -> Iterator[Place]:
    """Of each task one for every combination of values of the axes that have a list. along: an axis that is no place."""
    axes = {label: value for label, value in wanted.get("axes", {}).items() if label != along}
    pooled = {label: values for label, values in axes.items() if isinstance(values, list)}
    for task, *values in product(tasks, *pooled.values()):
        here = dict(zip(pooled, values, strict=True))
        where = [f"{label} {value if isinstance(value, str) else f'{value:g}'}" for label, value in here.items()]
        at = {"size": wanted.get("size", 1)} | axes | here
        at.pop(along or "", None)
        yield Place(", ".join([task, *where]), task, wanted.get("update", "full"), at)


def there(rows: Sequence[Row], place: Place, optimizer: str, base: str | None = None) -> list[Row]:
    """The rows of an optimizer at a place, on one base or on any."""
    return [
        row for row in rows
        if (row.task, row.update, row.optimizer) == (place.task, place.update, optimizer) and base in (None, row.base)
        and all(row.coordinates.get(label) == value for label, value in place.at.items())
    ]  # fmt: skip


def own_base(card: Object, optimizer: str) -> str:
    """Under which name the stages before the last are trained for an optimizer; none where there is one stage."""
    variant = card.get("variants", {}).get(optimizer, {})
    root = variant.get("base") or variant.get("of") or optimizer
    return root if len(card["stages"]) > 1 else ""


def salted(card: Object, optimizer: str) -> list[str]:
    """The variants that are an optimizer with another salt and nothing else."""
    crossed = {"optimizer", "update"}  # change no run
    return [
        name for name, variant in card.get("variants", {}).items()
        if variant["of"] == optimizer and variant.get("salt") and variant.get("base") in (None, optimizer, name)
        and not variant.keys() - {"of", "salt", "base", "update"}
        and not any(
            set(override) - crossed for stage in card["stages"] for key, override in stage.get("for", {}).items()
            if key.rpartition("/")[2] == name
        )
    ]  # fmt: skip
