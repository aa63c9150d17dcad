"""Whether rows were tuned alike: only then does their difference say something of optimizers, not of their tuning."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from math import prod

from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.scores.probes import BASE
from synthbench.scores.reading import BETWEEN_RATES

MOST_EXTENDED = 3  # of `stages.NAME.extend`


def unfair(pair: Pair, name: str, card: RunnerCard) -> str | None:
    """Why a score of two rows has no verdict: other numbers of trials (learning rates, multiplied over stages), or a best
    rate at an edge of its grid, beyond which a better one may lie. None where it has one."""
    if not are_alike(pair.row.trials, pair.other.trials, card):
        return f"{_trials(pair.row)} against {_trials(pair.other)}"
    settings = [(row.label, row.update, row.coordinates) for row in pair]
    if settings[0] == settings[1]:
        return None  # the same in two folders: the same grids have the same edges
    return next((f"{why} of {row.label}" for row in pair if (why := at_edge(row, name))), None)


def are_alike(first: Sequence[int], second: Sequence[int], card: RunnerCard) -> bool:
    """Whether trials by stage are equally many. Grids that were extended by the same rule count as equal, and so do two of
    which there is no record."""
    if len(first) != len(second):
        return False
    return all(abs(a - b) <= stage.extend for a, b, stage in zip(first, second, card.stages, strict=False))


def at_edge(row: Row, name: str) -> str | None:
    """What lies at an edge of its grid: the best rate of some stage that the score depends on."""
    chooses = not name.endswith((*BETWEEN_RATES, BASE))  # a rate in the last stage
    is_at_edge = row.edge_before or (row.edge and chooses)
    return "the best rate lies at the edge of the grid" if is_at_edge else None


def unlike_most(rows: Sequence[Row], card: RunnerCard) -> dict[int, str]:
    """By index the rows that cannot be ranked with most of the others, and why."""
    usual, _ = Counter(tuple(row.trials) for row in rows).most_common(1)[0] if rows else ((), 0)
    unlike = [index for index, row in enumerate(rows) if not are_alike(row.trials, usual, card)]
    return {index: f"{_trials(rows[index])}, most rows have {prod(usual)}" for index in unlike}


def _trials(row: Row) -> str:
    count = prod(row.trials)
    return f"{count} trial{'s' * (count != 1)}" if row.trials else "an unknown number of trials"


def remedy(pair: Pair, card: RunnerCard) -> str:
    """The command that tunes both optimizers alike."""
    names = dict.fromkeys(card.optimizer_of(row.optimizer) for row in pair)
    setting = "tuning=wide"
    if are_alike(pair.row.trials, pair.other.trials, card):
        wanting = card.stages[0] if any(row.edge_before for row in pair) else card.stages[-1]
        setting = f"stages.{wanting.name}.extend={MOST_EXTENDED}"
    return shlex.join(["synthbench", "run", card.name, "--optimizer", ",".join(names), "--set", setting])
