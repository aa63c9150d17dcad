"""Entries of tables: numbers rounded once, for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from synthbench.analysis.statistics import Interval
from synthbench.scores.reading import Reached, median

DIGITS = 4  # kept of every number, in every format
SHOWN = 2  # of these in text
ARROWS = {"up": "↑", "down": "↓", "-": ""}


def rounded(value: float | None) -> float | None:
    """A number without a negative zero; None where there is none."""
    return None if value is None or not isfinite(value) else round(value, DIGITS) + 0.0


def signed(value: float) -> str:
    return f"{value:+z.{SHOWN}f}"


@dataclass(frozen=True)
class Entry:
    """A number of a table: mean and 95 % interval over n seeds.

    signed: whether it shows its sign, as differences do. censored: of a median, `>` or `<` where it is a bound, else empty;
    None of a mean.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    signed: bool = False
    censored: str | None = None

    @classmethod
    def median(cls, seeds: Sequence[Reached]) -> Entry:
        """The median of values some of which are only bounds; n counts the others."""
        found = median(seeds)
        exact = sum(not value.censored for value in seeds)
        return cls(rounded(found.value), n=exact, censored=found.censored) if found else cls()

    @classmethod
    def of(cls, found: Interval, *, signed: bool = False) -> Entry:
        mean, low, high = map(rounded, found[:3])
        return cls(mean, low, high, found.n, signed)

    def text(self, expected: int) -> str:
        """`0.52 ±0.09`, with its n where that is not the expected one."""
        if self.mean is None:
            return "not reached" if expected else "diverged"
        if self.censored is not None:
            return f"{self.censored}{self.mean:.0f} ({self.n}/{expected})"
        spread = "" if self.low is None else f" ±{round(self.mean - self.low, DIGITS):.{SHOWN}f}"
        mean = signed(self.mean) if self.signed else f"{self.mean:z.{SHOWN}f}"
        return mean + spread + (f" n={self.n}" if self.n != expected else "")
