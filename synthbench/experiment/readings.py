"""What a card reads of a run's path, computed once, when the run finishes: at which steps fit reaches each level, and every
score there and at the target step. Tables are made of these; paths themselves are read for exports alone.

S: scores along the path, L: levels of fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.scores.reading import FITS, Path, Reached, crossing, first_reaching

if TYPE_CHECKING:
    from synthbench.cards.runner import ReadingCard


class Wanted(NamedTuple):
    """What a card reads of the runs of a cell. fit, fit_of: the level, and the score that is meant by fit. target_step:
    that of the card, for a cell of this size. rule: the accuracy that `steps_to_rule@t` waits for."""

    fit: float
    fit_of: str
    target_step: float
    rule: float

    @property
    def levels(self) -> tuple[float, ...]:
        return _levels(self.fit)


@cache
def _levels(fit: float) -> tuple[float, ...]:
    return tuple(sorted({*FITS, fit}))


def wanted(card: ReadingCard, size: float) -> Wanted:
    return Wanted(card.fit, card.fit_of, float(card.target_step * size), card.rule)


class Readings(NamedTuple):
    """names: of the scores along a path. steps_L: where it first reaches each level, NaN where it never does. at_levels_LS:
    every score there. at_target_S: every score at the target step, NaN beyond the path's end. NaN stands for what was not
    measured. has_fit: whether the path has the score that is meant by fit. rule: where rule accuracy reaches its
    threshold."""

    of: Wanted
    names: tuple[str, ...]
    steps_L: NDArray[np.float64]
    at_levels_LS: NDArray[np.float64]
    at_target_S: NDArray[np.float64]
    has_fit: bool
    rule: Reached | None

    @property
    def step_to_fit(self) -> float | None:
        """The first step at which the card's fit is reached."""
        step = float(self.steps_L[self.of.levels.index(self.of.fit)])
        return step if step == step else None

    @property
    def at_target(self) -> dict[str, float]:
        return dict(zip(self.names, self.at_target_S.tolist(), strict=True))


def read(path: Path, of: Wanted) -> Readings:
    """The readings of a path, with the numbers of `scores/reading.py`."""
    ordered, names = sorted(path), tuple(sorted({name for scores in path.values() for name in scores}))
    rows = [[path[step].get(name, nan) for name in names] for step in ordered]
    values_TS = np.array(rows).reshape(len(ordered), len(names))
    found = [crossing(path, level, of.fit_of) for level in of.levels]
    nowhere = np.full(len(names), nan)
    at_levels = [_between(ordered, values_TS, step) if step else nowhere for step in found]
    is_inside = of.target_step <= max(path, default=-1)
    return Readings(
        of, names, np.array([nan if step is None else step for step in found]),
        np.array(at_levels).reshape(len(found), len(names)),
        _between(ordered, values_TS, of.target_step) if is_inside else nowhere,
        has_fit=of.fit_of in names,
        rule=first_reaching({step: path[step].get("rule_accuracy", nan) for step in ordered}, of.rule),
    )  # fmt: skip


def _between(steps: Sequence[int], values_TS: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Every score at a step between two points: `scores.reading.value_at`, for all scores at once."""
    right = next(index for index, s in enumerate(steps) if s >= step)
    at_S: NDArray[np.float64] = values_TS[right]
    if right > 0 and steps[right] != step:
        low, high = steps[right - 1], steps[right]
        at_S = values_TS[right - 1] + (at_S - values_TS[right - 1]) * (step - low) / (high - low)
    return at_S
