"""What an experiment of one optimizer showed at its end, seed by seed, and how far chance moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthbench.cards import RunnerCard
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.decision import FEWEST, noise
from synthbench.gate.ends import UNITS, ends
from synthbench.reporting.report import Report
from synthbench.scores import SCORES

UPDATES = "update_norm."
DIGITS = 6  # of what is recorded

Values = dict[str, dict[str, dict[int, float]]]


def behaviour(report: Report, card: RunnerCard) -> BehaviourCard:
    """By stage and update and seed: the card's scores at the end of its last stage, how far each group of parameters was
    moved, and what runs leave beside scores.

    card: of one optimizer, its rates fixed; a folder of results may have rows of others, and other seeds.
    """
    (label,), last = card.optimizers, card.stages[-1].name
    left = ends(report, card)
    values: Values = {f"{stage.name}/{update}": {} for stage in card.stages for update in stage.update}
    for row in report.rows:
        if row.optimizer == label and not row.reference:
            values[f"{last}/{row.update}"] = {name: row.values.get(name, {}) for name in gated(card.columns)}
    for where, own in left.values.items():
        values[where] |= own
    seeds, diverged = set(card.seed_list), dict[str, list[int]]()
    for where, own in values.items():
        kept = {name: of_seeds(by_seed, seeds) for name, by_seed in own.items()}
        sound = {seed for by_seed in kept.values() for seed in by_seed}
        enough = min(FEWEST, len(sound)) or 1  # a score of fewer seeds decides nothing
        values[where] = {name: by_seed for name, by_seed in kept.items() if len(by_seed) >= enough}
        diverged[where] = sorted(seeds - sound)
    return described(values, diverged, {where: [*map(rounded, curve)] for where, curve in left.curves.items()})


def described(values: Values, diverged: dict[str, list[int]], curves: dict[str, list[float]]) -> BehaviourCard:
    """Values by place, score and seed, with their noise floors."""
    floors, undefined = dict[str, dict[str, float]](), dict[str, dict[str, list[int]]]()
    for where, own in values.items():
        floors[where] = {name: rounded(noise([*by_seed.values()])) for name, by_seed in own.items()}
        seen = {seed for by_seed in own.values() for seed in by_seed}
        undefined[where] = {name: sorted(seen - {*by_seed}) for name, by_seed in own.items() if seen - {*by_seed}}
    return BehaviourCard(values=values, noise=floors, diverged=diverged, undefined=undefined, curves=curves)


def of_seeds(by_seed: Mapping[int, float], seeds: set[int]) -> dict[int, float]:
    return {seed: rounded(by_seed[seed]) for seed in sorted(seeds & by_seed.keys())}


def gated(columns: Sequence[str]) -> list[str]:
    """The scores that are compared: those of a card's columns that are read at the end, and the norms of updates."""
    own = [name for name in columns if SCORES[name].level == "point"]
    return list(dict.fromkeys([*own, *(name for name in SCORES if name.startswith(UPDATES) and "@" not in name)]))


def unit(name: str) -> str:
    return SCORES[name].unit if name in SCORES else UNITS[name.partition(".")[0]]


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
