"""What the rows of a table were given beside their names: arguments, a routing, a rate of pretraining that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthbench.analysis.rows import Found, Row
from synthbench.cards import RunnerCard
from synthbench.common import overrides
from synthbench.common.wording import listed
from synthbench.experiment.choice import choose


def given(rows: Sequence[Row], found: Found, card: RunnerCard) -> list[str]:
    """A sentence on arguments and one on rates, as far as there is something to say of the measured rows."""
    measured = list(dict.fromkeys(name for row in rows if not row.reference for name in (*row.base, row.optimizer)))
    arguments = [f"{name}: {said}" for name in measured if (said := _arguments(name, card))]
    rates = _rates(found, card, set(measured))
    edge = " (! at the edge of its grid)" * any(rate.endswith("!") for rate in rates)
    return [
        *([f"Given: {'; '.join(arguments)}."] if arguments else []),
        *([f"Pretrained at the best of several rates: {listed(rates)}{edge}."] if rates else []),
    ]


def _arguments(name: str, card: RunnerCard) -> str:
    """Those of the card, and of a variant, in one line."""
    own = card.variants[name].arguments if name in card.variants else {}
    both: Mapping[str, Any] = card.arguments.get(card.optimizer_of(name), {}) | own
    return ", ".join(f"{key}={overrides.written(value)}" for key, value in both.items())


def _rates(found: Found, card: RunnerCard, names: set[str]) -> list[str]:
    """Of each cell before the last stage that had several rates: whose it is, and which was chosen."""
    said = []
    several = len({cell.task for cell in found.cells}) > 1, len(card.stages) > 2
    for cell, trials in found.cells.items():
        if cell.stage != card.stages[-1].name and cell.optimizer in names and len({trial.lr for trial in trials}) > 1:
            choice = choose(trials, found.results)
            where = [cell.optimizer, *([f"on {cell.task}"] * several[0]), *([f"in {cell.stage}"] * several[1])]
            said.append(f"{' '.join(where)} " + (f"{choice.lr:.3g}{'!' * choice.edge}" if choice else "none"))
    return sorted(said)
