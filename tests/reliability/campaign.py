"""A campaign: many trials of one promise. `python -m tests.reliability` runs all at full length and writes the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Campaign:
    """promise: what was to hold. trials: how often it was tried. outcomes: what happened, counted, in words. broken: a
    sentence for every trial in which the promise did not hold."""

    name: str
    promise: str
    trials: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def tried(self, outcome: str, *broken: str) -> None:
        self.trials += 1
        self.outcomes[outcome] += 1
        self.broken += broken
