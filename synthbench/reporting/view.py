"""How a report's rows are shown: which scores, in which order, as they are or less an optimizer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from synthbench.analysis import pairing
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice, shown
from synthbench.scores import SCORES


@dataclass(frozen=True)
class View:
    """sort: a score, best first. columns: scores in place of the card's. versus: the optimizer to compare rows with."""

    sort: str | None = None
    columns: Sequence[str] | None = None
    versus: str | None = None

    def check(self, rows: Sequence[Row]) -> None:
        """Raises BadInput for a score or an optimizer that these rows do not have."""
        if self.sort is not None:
            check_choice("--sort", self.sort, SCORES)
        check_columns(self.columns)
        self.rivals(rows)

    def scores(self, card: RunnerCard) -> list[str]:
        return list(self.columns or card.columns)

    def ordered(self, rows: Sequence[Row]) -> list[Row]:
        """Task by task, the best first (the highest where neither is better); rows without the score last."""
        if self.sort is None:
            return list(rows)
        name, groups = self.sort, list(dict.fromkeys(map(pairing.setting, rows)))

        def place(row: Row) -> tuple[int, float]:
            values = row.values.get(name)
            mean = fmean(values.values()) * (1 if SCORES[name].better == "down" else -1) if values else float("inf")
            return groups.index(pairing.setting(row)), mean

        return sorted(rows, key=place)

    def rivals(self, rows: Sequence[Row]) -> list[Row | None]:
        """For each row the one of the optimizer that it is compared with; None for those rows themselves."""
        if self.versus is None:
            return [None] * len(rows)
        rivals = pairing.of_optimizer(rows, self.versus, "--versus")
        return [None if row in rivals else pairing.counterpart(row, rivals, apart_from="label") for row in rows]


AS_IT_IS = View()


def check_columns(names: Sequence[str] | None) -> None:
    """Raises BadInput for unknown scores, or one named twice."""
    for name in names or ():
        check_choice("--columns", name, SCORES)
    if names is not None and len(set(names)) < len(names):
        raise BadInput(f"--columns {shown(','.join(names))} has the same score twice.")
