"""What was compared: by kind of number the count, the largest deviation, and where one is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import inf, isfinite
from typing import Any

from tests.recompute.runs import Object

EXACT = 1e-9  # beyond the printed decimals


class Ledger:
    """Recomputed numbers beside published ones."""

    def __init__(self) -> None:
        self.counts, self.largest, self.deviating = Counter[str](), defaultdict[str, float](float), dict[str, str]()

    def add(self, kind: str, where: object, mine: Any, theirs: Any, digits: int | None = None) -> None:
        """digits: decimals to which the published number is rounded."""
        mine = None if isinstance(mine, float) and not isfinite(mine) else mine  # published as empty
        beyond = 0.0 if mine == theirs else inf
        if isinstance(mine, float) and isinstance(theirs, int | float):
            beyond = max(0.0, abs(mine - theirs) - (0.5001 * 10.0**-digits if digits else 0.0))
        self.counts[kind] += 1
        self.largest[kind] = max(self.largest[kind], beyond)
        if beyond > EXACT:
            self.deviating.setdefault(kind, f"{where}: recomputed {mine}, published {theirs}")

    def each(self, kind: str, where: object, mine: Object, shown: Object, digits: int | None = None) -> None:
        """Named numbers, of which more may be published."""
        for column, value in mine.items():
            self.add(kind, (where, column), value, shown[column], digits)

    def by_seed(self, kind: str, where: object, mine: dict[int, Any], theirs: Object) -> None:
        for seed in sorted({*mine, *map(int, theirs)}):
            self.add(kind, (where, seed), mine.get(seed), theirs.get(str(seed)), 6)

    def lines(self) -> Iterator[str]:
        for kind, count in self.counts.items():
            yield f"{kind}: {count} compared, largest deviation {self.largest[kind]:.1g}"
            yield from [f"  such as {self.deviating[kind]}"] if kind in self.deviating else []
