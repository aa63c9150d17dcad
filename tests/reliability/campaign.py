"""A campaign: many trials of one promise. `python -m tests.reliability` runs all campaigns and prints the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Campaign:
    """promise: the property under test. outcomes: how often each occurred. violations: one sentence for each."""

    name: str
    promise: str
    trials: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def record(self, outcome: str, *violations: str) -> None:
        self.trials += 1
        self.outcomes[outcome] += 1
        self.violations += violations
