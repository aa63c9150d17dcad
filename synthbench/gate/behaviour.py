"""The results of an experiment of one optimizer, seed by seed, and how far chance moves them.

Beside scores: how the loss began to fall, and the weights at the end. A change of an optimizer may show there and in no
score: dropped decay in norms of weights, matrices routed to another optimizer in the stable ranks of their updates, a lost
warm-up in the first losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.analysis.change_test import FEWEST, noise
from synthbench.cards import ModelCard
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Result, Run
from synthbench.gate.baseline import BehaviourCard
from synthbench.scores import SCORES
from synthbench.store.results import Store
from synthbench.trainer.layout import transformer

DIGITS = 6  # of what is recorded
UPDATES = "update_norm."  # scores of what an update changed
EARLY = "early_loss"  # the mean training loss over the first quarter of a stage
NORM = "weight_norm"  # of a group of parameters, at the end of a stage
RANK = "update_rank"  # mean stable rank of the changes of a group's matrices over a stage (adapters: of their factors)
UNITS = {EARLY: "nats/token", NORM: "norm", RANK: "rank"}
OF_WEIGHTS = (NORM, RANK)
QUARTER = 4

Values = dict[str, dict[str, dict[int, float]]]
Weights = Mapping[str, NDArray[np.floating[Any]]]


def behaviour(folder: Path, experiment: Experiment) -> BehaviourCard:
    """By stage and update and seed: the card's scores at the end of its last stage, how far each group of parameters was
    moved, norms and ranks of weights where they were kept.

    folder: of results, which may have runs of others, too. experiment: of one optimizer, its rates fixed.
    """
    card = experiment.card
    measured, losses = _measured(folder, experiment)
    values: Values = {f"{stage.name}/{update}": {} for stage in card.stages for update in stage.update}
    diverged = dict[str, list[int]]()
    for cell in values:
        scores = measured.get(cell, {})
        valid = {seed for by_seed in scores.values() for seed in by_seed}
        enough = min(FEWEST, len(valid))  # a score of fewer seeds decides nothing
        values[cell] = {name: in_order(by_seed) for name, by_seed in scores.items() if len(by_seed) >= enough}
        diverged[cell] = sorted({*card.seed_list} - valid)
    curves = {cell: [rounded(loss) for loss in np.mean(of_runs, axis=0)] for cell, of_runs in losses.items()}
    return described(values, diverged, curves)


def described(values: Values, diverged: dict[str, list[int]], curves: dict[str, list[float]]) -> BehaviourCard:
    """Values by cell, score and seed, with their noise floors."""
    floors, undefined = dict[str, dict[str, float]](), dict[str, dict[str, list[int]]]()
    for cell, scores in values.items():
        floors[cell] = {name: rounded(noise([*by_seed.values()])) for name, by_seed in scores.items()}
        seeds = {seed for by_seed in scores.values() for seed in by_seed}
        undefined[cell] = {name: sorted(seeds - {*by_seed}) for name, by_seed in scores.items() if seeds - {*by_seed}}
    return BehaviourCard(values=values, noise=floors, diverged=diverged, undefined=undefined, curves=curves)


def in_order(by_seed: Mapping[int, float]) -> dict[int, float]:
    return {seed: rounded(value) for seed, value in sorted(by_seed.items())}


def unit(name: str) -> str:
    """The unit of a score; none of one that only another version knows, which nothing is compared with."""
    return SCORES[name].unit if name in SCORES else UNITS.get(name.partition(".")[0], "")


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _measured(folder: Path, experiment: Experiment) -> tuple[Values, dict[str, list[list[float]]]]:
    """Values by cell, score and seed of the valid runs of an experiment whose rates are fixed; training losses by cell."""
    last, columns = experiment.card.stages[-1].name, gated(experiment.card.columns)
    values: Values = {}
    losses: dict[str, list[list[float]]] = {}
    with closing(Store.read(folder)) as store:
        results = store.results()
        for cell, runs in Plan(experiment, results).cells().items():
            name = f"{cell.stage}/{cell.update}"
            of_cell = values.setdefault(name, {})
            for run in [run for run in runs if results[run.id].status == "ok"]:
                result = results[run.id]
                curve = store.curve(result)
                losses.setdefault(name, []).append(curve)
                of_run = {EARLY: early(curve)}
                if cell.stage == last:
                    scores = {score: result.score(score) for score in columns}
                    of_run = scores | of_run | _of_weights(store, run, results)
                for score, value in of_run.items():
                    if isfinite(value):
                        of_cell.setdefault(score, {})[run.seed] = value
    return values, losses


def gated(columns: Sequence[str]) -> list[str]:
    """The scores that are compared: those of a card's columns that are read at the end, and the norms of updates."""
    points = [name for name in columns if SCORES[name].level == "point"]
    return list(dict.fromkeys([*points, *(name for name in SCORES if name.startswith(UPDATES) and "@" not in name)]))


def early(losses: Sequence[float]) -> float:
    return float(np.mean(losses[: max(1, len(losses) // QUARTER)]))


def _of_weights(store: Store, run: Run, results: Mapping[str, Result]) -> dict[str, float]:
    """Measures of the weights that a run ended with; nothing where they were not kept."""
    after = _weights(store, results[run.id])
    if after is None:
        return {}
    before = _weights(store, results.get(run.parent)) if run.parent else {}
    return measures(before, after, ModelCard.model_validate(run.model))


def _weights(store: Store, result: Result | None) -> Weights | None:
    """The weights that a run ended with, where they were kept."""
    from safetensors.numpy import load

    file = store.valid_weights(result) if result else None
    return load((store.weights / file.name).read_bytes()) if file else None


def measures(before: Weights | None, after: Weights, model: ModelCard) -> dict[str, float]:
    """Norms of weights, and mean stable ranks of their changes, by group. before: weights missing there were zero; None
    where they are unknown, and then there are no ranks."""
    groups = {name: parameter.group for name, parameter in transformer(model, 1, 1).parameters.items()}  # of any size
    squares: dict[str, float] = {}
    ranks: dict[str, list[float]] = {}
    for name, value in sorted(after.items()):
        factor = name.rpartition(".")[2]
        group = factor if factor in ("A", "B") else groups[name]
        squares[group] = squares.get(group, 0.0) + float((value.astype("f8") ** 2).sum())
        if value.ndim > 1 and before is not None:
            ranks.setdefault(group, []).extend(stable_ranks(value - before.get(name, np.float32(0))))
    norms = {f"{NORM}.{group}": square**0.5 for group, square in squares.items()}
    return norms | {f"{RANK}.{group}": float(np.mean(of_group)) for group, of_group in ranks.items()}


def stable_ranks(matrices: NDArray[np.floating[Any]]) -> list[float]:
    """The squared Frobenius norm over the squared largest singular value, of each matrix; 0 of a zero matrix."""
    singular = np.linalg.svd(matrices.reshape(-1, *matrices.shape[-2:]).astype("f8"), compute_uv=False)
    largest = singular[:, 0] ** 2
    return ((singular**2).sum(-1) / np.where(largest > 0, largest, 1.0)).tolist()  # type: ignore[no-any-return]
