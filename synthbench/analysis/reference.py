"""Reference rows: results shipped with the package, shown where task, card and code agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from synthbench import cards
from synthbench.analysis.cost import Spent, spent
from synthbench.analysis.fairness import are_alike
from synthbench.analysis.rows import Row, joined
from synthbench.cards import Card, RunnerCard
from synthbench.experiment import identity, used
from synthbench.experiment.runs import Result
from synthbench.trainer.native import path as paths

WIDE = "-wide"  # ends the names of references whose rows had the trials of a plug-in


class Reference(Card):
    """What `report --format reference` writes. setting, tasks, package: fingerprints that must agree. card: of the whole
    card. arguments: its own, by optimizer."""

    runner: str
    card: str
    setting: str = ""
    arguments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tasks: dict[str, str]
    package: str
    device: str
    versions: dict[str, str]
    command: str
    spent: Spent
    rows: list[Row]


def make(
    card: RunnerCard, tasks: Mapping[str, str], rows: Sequence[Row], command: str, results: Sequence[Result]
) -> Reference:
    """Reference rows out of measured ones and the results that they were made of."""
    measured = [row for row in rows if not row.reference]
    device = joined(row.device for row in measured)
    return Reference(
        runner=card.name, card=card.fingerprint(), setting=card.setting(), arguments=card.arguments, tasks=dict(tasks),
        package=package(card, device), device=device, versions=dict(results[0].versions) if results else {},
        command=command, spent=spent(results), rows=measured,
    )  # fmt: skip


def package(card: RunnerCard, device: str) -> str:
    """The fingerprint of the present code, of what a card uses of it and of the path that rows of this device took."""
    return identity.package_fingerprint(*used.by_card(card), path=paths.of_device(device))


def text(source: Reference) -> str:
    """As it is shipped: JSON, a row a line."""
    head = json.dumps(source.model_dump(mode="json", exclude={"rows"}), indent=1, allow_nan=False)
    rows = (json.dumps(row.model_dump(mode="json"), separators=(",", ":"), allow_nan=False) for row in source.rows)
    return f'{head[:-2]},\n "rows": [\n{f",{chr(10)}".join(rows)}\n ]\n}}'


def shipped(card: RunnerCard, tuning: str = "") -> Reference | None:
    """The reference of a runner by its name, or None where none is shipped or it cannot be read. tuning: `-wide` for rows
    that had the trials of a plug-in."""
    path = cards.shipped() / "reports" / f"{card.name}{tuning}.json"
    try:
        return Reference.model_validate_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None


def _of_this_code(card: RunnerCard, tasks: Mapping[str, str]) -> list[Reference]:
    """The shipped references that were made with this code and (among others) these tasks, whatever the card says."""
    sources = [source for tuning in ("", WIDE) if (source := shipped(card, tuning))]
    return [s for s in sources if s.package == package(card, s.device) and tasks.items() <= s.tasks.items()]


def beside(rows: Sequence[Row], card: RunnerCard, tasks: Mapping[str, str]) -> tuple[list[Row], Reference | None]:
    """Measured rows and, after them, the rows for other optimizers under the same updates of the shipped reference, if its
    fingerprints are those of this setting, this code and these tasks. Of two references the one with the trials of most of
    these rows."""
    sources = [source for source in _of_this_code(card, tasks) if source.setting == card.setting()]
    trials = [row.trials for row in rows]
    alike = [sum(are_alike(of_row, s.rows[0].trials, card) for of_row in trials) if s.rows else 0 for s in sources]
    if not sources:
        return list(rows), None
    source = sources[alike.index(max(alike))]
    extra = _extra(source, rows, card, tasks)
    return [*rows, *extra], source if extra else None


def left_out(rows: Sequence[Row], card: RunnerCard, tasks: Mapping[str, str]) -> list[Row]:
    """The reference rows that would stand beside these if the card's settings were as they are shipped."""
    sources = _of_this_code(card, tasks)
    is_other = not any(source.setting == card.setting() for source in sources)
    return _extra(sources[0], rows, None, tasks) if sources and is_other else []


def _extra(source: Reference, rows: Sequence[Row], card: RunnerCard | None, tasks: Mapping[str, str]) -> list[Row]:
    """The rows of a reference that stand beside measured ones: of other optimizers, under their updates and at their places
    on the axes. card: whose arguments they must have, if given."""
    measured = {(row.task, *row.base, row.optimizer) for row in rows}
    places = {(row.update, row.size, row.place) for row in rows}
    return [
        row.model_copy(update={"reference": True})
        for row in source.rows
        if row.task in tasks and (row.task, *row.base, row.optimizer) not in measured
        if (row.update, row.size, row.place) in places
        if card is None
        or all(
            card.arguments.get(name) == source.arguments.get(name)
            for name in {*row.base, row.variant_of or row.optimizer}
        )
    ]
