"""What an experiment of one optimizer showed at its end, seed by seed, and how far chance moves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthbench.analysis.change_test import FEWEST, noise
from synthbench.experiment.plan import Experiment
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.ends import UNITS, ends
from synthbench.scores import SCORES

DIGITS = 6  # of what is recorded

Values = dict[str, dict[str, dict[int, float]]]


def behaviour(folder: Path, experiment: Experiment) -> BehaviourCard:
    """By stage and update and seed: the card's scores at the end of its last stage, how far each group of parameters was
    moved, and what runs leave beside scores.

    folder: of results, which may have runs of others, too. experiment: of one optimizer, its rates fixed.
    """
    card, left = experiment.card, ends(folder, experiment)
    values: Values = {f"{stage.name}/{update}": {} for stage in card.stages for update in stage.update}
    diverged = dict[str, list[int]]()
    for where in values:
        own = left.values.get(where, {})
        sound = {seed for by_seed in own.values() for seed in by_seed}
        enough = min(FEWEST, len(sound))  # a score of fewer seeds decides nothing
        values[where] = {name: in_order(by_seed) for name, by_seed in own.items() if len(by_seed) >= enough}
        diverged[where] = sorted({*card.seed_list} - sound)
    return described(values, diverged, {where: [*map(rounded, curve)] for where, curve in left.curves.items()})


def described(values: Values, diverged: dict[str, list[int]], curves: dict[str, list[float]]) -> BehaviourCard:
    """Values by place, score and seed, with their noise floors."""
    floors, undefined = dict[str, dict[str, float]](), dict[str, dict[str, list[int]]]()
    for where, own in values.items():
        floors[where] = {name: rounded(noise([*by_seed.values()])) for name, by_seed in own.items()}
        seen = {seed for by_seed in own.values() for seed in by_seed}
        undefined[where] = {name: sorted(seen - {*by_seed}) for name, by_seed in own.items() if seen - {*by_seed}}
    return BehaviourCard(values=values, noise=floors, diverged=diverged, undefined=undefined, curves=curves)


def in_order(by_seed: Mapping[int, float]) -> dict[int, float]:
    return {seed: rounded(value) for seed, value in sorted(by_seed.items())}


def unit(name: str) -> str:
    """The unit of a line; none of a score that only another version knows, which nothing is compared with."""
    return SCORES[name].unit if name in SCORES else UNITS.get(name.partition(".")[0], "")


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
