"""`x@fit` and `x@fits` of a row: between the rates of each seed, of all seeds and scores at once.

R: seeds of the row, S: scores, L: levels of fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import nan

import numpy as np
from numpy.typing import NDArray

from synthbench.experiment.readings import Readings
from synthbench.scores.reading import FITS, bracket

Numbers = NDArray[np.float64]


def between_rates(
    rates_of: Sequence[Sequence[Readings]], target_steps: Sequence[float], names: Sequence[str]
) -> Iterator[tuple[Numbers, Numbers]]:
    """At each target step `scores.reading.Rates.at_fit` and `over_fits` of every seed, shape (R, S): NaN where a seed's
    rates do not lie on both sides of the step, or a score was not measured.

    rates_of: of each seed, which are of one card. names: of the scores.
    """
    wanted, known = tuple(names), [one.of for rates in rates_of for one in rates]
    if not known:
        yield from [(np.full((len(rates_of), len(names)), nan),) * 2] * len(target_steps)
        return
    levels, fit = known[0].levels, known[0].fit
    steps_of = [[one.step_to_fit for one in rates] for rates in rates_of]
    nowhere = np.full((len(levels), len(names)), nan)
    for target_step in target_steps:
        between = []
        for rates, steps in zip(rates_of, steps_of, strict=True):
            if around := bracket(steps, target_step):
                fast, slow = (_of_names(rates[index], wanted) for index in (around.fast, around.slow))
                between.append(fast if around.weight == 0 else fast + (slow - fast) * around.weight)
            else:
                between.append(nowhere)
        value_RLS = np.stack(between)
        over_fits = sum(value_RLS[:, levels.index(level)] for level in FITS) / len(FITS)
        yield value_RLS[:, levels.index(fit)], np.asarray(over_fits)


def _of_names(one: Readings, wanted: tuple[str, ...]) -> Numbers:
    """What a run reads at each level, shape (L, S)."""
    places, has_all = _places(one.names, wanted)
    if has_all:
        return one.at_levels_LS[:, places]
    padded = np.concatenate([one.at_levels_LS, np.full((len(one.at_levels_LS), 1), nan)], axis=1)
    return padded[:, places]


@lru_cache(1024)
def _places(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[NDArray[np.int64], bool]:
    """The columns of these scores, one beyond the last for those that are not there; and whether all are."""
    of_name = {name: index for index, name in enumerate(names)}
    places = np.array([of_name.get(name, len(names)) for name in wanted], dtype=np.int64)
    return places, all(name in of_name for name in wanted)
