"""Reference rows: results shipped with the package, shown where task, card and code agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from synthbench import cards
from synthbench.analysis.cost import Spent, spent
from synthbench.analysis.rows import Row, joined
from synthbench.cards import Card, RunnerCard
from synthbench.experiment import identity
from synthbench.experiment.runs import Result


class Reference(Card):
    """What `report --format reference` writes. card, tasks, package: fingerprints that must agree."""

    runner: str
    card: str
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
    return Reference(
        runner=card.name, card=card.fingerprint(), tasks=dict(tasks), package=identity.package_fingerprint(),
        device=joined(row.device for row in measured), versions=dict(results[0].versions) if results else {},
        command=command, spent=spent(results), rows=measured,
    )  # fmt: skip


def text(source: Reference) -> str:
    """As it is shipped: JSON, a row a line."""
    head = json.dumps(source.model_dump(mode="json", exclude={"rows"}), indent=1, allow_nan=False)
    rows = (json.dumps(row.model_dump(mode="json"), separators=(",", ":"), allow_nan=False) for row in source.rows)
    return f'{head[:-2]},\n "rows": [\n{f",{chr(10)}".join(rows)}\n ]\n}}'


def shipped(card: RunnerCard) -> Reference | None:
    """The reference of a runner by its name, or None where none is shipped or it cannot be read."""
    path = cards.shipped() / "reports" / f"{card.name}.json"
    try:
        return Reference.model_validate_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None


def _of_this_code(card: RunnerCard, tasks: Mapping[str, str]) -> Reference | None:
    """The shipped reference, if it was made with this code and (among others) these tasks, whatever the card says."""
    source = shipped(card)
    agrees = source and source.package == identity.package_fingerprint() and tasks.items() <= source.tasks.items()
    return source if agrees else None


def beside(rows: Sequence[Row], card: RunnerCard, tasks: Mapping[str, str]) -> tuple[list[Row], Reference | None]:
    """Measured rows and, after them, the rows for other optimizers under the same updates of the shipped reference, if its
    fingerprints are those of this card, this code and these tasks."""
    source = _of_this_code(card, tasks)
    extra = _extra(source, rows, tasks) if source and source.card == card.fingerprint() else []
    return [*rows, *extra], source if extra else None


def left_out(rows: Sequence[Row], card: RunnerCard, tasks: Mapping[str, str]) -> list[Row]:
    """The reference rows that would stand beside these if the card were as it is shipped."""
    source = _of_this_code(card, tasks)
    return _extra(source, rows, tasks) if source and source.card != card.fingerprint() else []


def _extra(source: Reference, rows: Sequence[Row], tasks: Mapping[str, str]) -> list[Row]:
    """The rows of a reference that stand beside measured ones."""
    measured, updates = {(row.task, *row.base, row.optimizer) for row in rows}, {row.update for row in rows}
    return [
        row.model_copy(update={"reference": True})
        for row in source.rows
        if row.task in tasks and (row.task, *row.base, row.optimizer) not in measured and row.update in updates
    ]
