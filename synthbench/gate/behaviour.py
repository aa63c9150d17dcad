"""The results of an experiment of one optimizer by seed, and how far chance moves them.

Beside scores: first training losses, norms and stable ranks of weights. A change may show there and in no score: dropped
weight decay in norms, matrices routed to another optimizer in ranks, a lost warm-up in the first losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from math import isfinite, nan
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.analysis.change_test import FEWEST, bound, detectable, noise
from synthbench.cards import ModelCard
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Result
from synthbench.gate.baseline import BehaviourCard
from synthbench.scores import SCORES
from synthbench.store.results import Store
from synthbench.trainer.layout import transformer

DIGITS = 6  # of what is recorded
EARLY = "early_loss"  # mean training loss over the first QUARTER of a stage
NORM = "weight_norm"  # of a group of parameters, at the end of a stage
RANK = "update_rank"  # mean stable rank of the changes of a group's matrices over a stage (adapters: of their factors)
OF_WEIGHTS = (NORM, RANK)
UNITS = {EARLY: "nats/token", NORM: "norm", RANK: "rank"}
QUARTER = 4

Values = dict[str, dict[str, dict[int, float]]]  # by cell, score and seed
Weights = Mapping[str, NDArray[np.floating[Any]]]


def behaviour(folder: Path, experiment: Experiment) -> BehaviourCard:
    """The results of an experiment of one optimizer, its rates fixed. folder: of results, perhaps of others, too."""
    card = experiment.card
    measured, losses = _measured(folder, experiment)
    values: Values = {f"{stage.name}/{update}": {} for stage in card.stages for update in stage.update}
    diverged = {}
    for cell in values:
        scores = measured.get(cell, {})
        valid = {seed for by_seed in scores.values() for seed in by_seed}
        enough = min(FEWEST, len(valid))  # a score of fewer seeds decides nothing
        for name, by_seed in scores.items():
            if len(by_seed) >= enough:
                values[cell][name] = {seed: rounded(value) for seed, value in sorted(by_seed.items())}
        diverged[cell] = sorted({*card.seed_list} - valid)
    curves = {cell: [rounded(loss) for loss in np.mean(of_runs, axis=0)] for cell, of_runs in losses.items()}
    return described(values, diverged, curves)


def described(values: Values, diverged: dict[str, list[int]], curves: dict[str, list[float]]) -> BehaviourCard:
    """Values with their noise floors."""
    floors, undefined = dict[str, dict[str, float]](), dict[str, dict[str, list[int]]]()
    for cell, scores in values.items():
        floors[cell] = {name: rounded(noise([*by_seed.values()])) for name, by_seed in scores.items()}
        seeds = {seed for by_seed in scores.values() for seed in by_seed}
        undefined[cell] = {name: sorted(seeds - {*by_seed}) for name, by_seed in scores.items() if seeds - {*by_seed}}
    return BehaviourCard(values=values, noise=floors, diverged=diverged, undefined=undefined, curves=curves)


def findable(behaviour: BehaviourCard, n: int) -> dict[str, dict[str, float]]:
    """The smallest change of a mean that so many seeds find with 80 % power, by cell and score, if the two sides are
    independent; where they share noise, smaller changes are found, too."""
    least: dict[str, dict[str, float]] = {where: {} for where in behaviour.values}
    for where, scores in behaviour.values.items():
        for name, values in scores.items():
            deviation = stdev(values.values()) if len(values) > 1 else nan
            least[where][name] = detectable(deviation, n, allowed(behaviour, where, name, n))
    return least


def allowed(behaviour: BehaviourCard, where: str, name: str, n: int) -> float:
    """How far the mean over n seeds may move."""
    return bound([*behaviour.values[where][name].values()], behaviour.noise[where][name], unit(name), n)


def unit(name: str) -> str:
    """The unit of a score; none of a score that only another version knows, which is compared with nothing."""
    return SCORES[name].unit if name in SCORES else UNITS.get(name.partition(".")[0], "")


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _measured(folder: Path, experiment: Experiment) -> tuple[Values, dict[str, list[list[float]]]]:
    """Finite values of the valid runs, and their training losses by cell: in the last stage the card's scores that are read
    at its end, norms of updates and measures of weights, where they were kept."""
    card, values, losses = experiment.card, dict[str, Any](), dict[str, list[list[float]]]()
    columns = [name for name in card.columns if SCORES[name].level == "point"]
    columns += [name for name in SCORES if name.startswith("update_norm.") and "@" not in name]
    with closing(Store.read(folder)) as store:
        results = store.results()
        for cell, runs in Plan(experiment, results).cells().items():
            name = f"{cell.stage}/{cell.update}"
            of_cell = values.setdefault(name, {})
            for run in runs:
                result = results[run.id]
                if result.status != "ok":
                    continue
                losses.setdefault(name, []).append(store.curve(result))
                of_run = {EARLY: early(losses[name][-1])}
                if cell.stage == card.stages[-1].name:
                    of_run = {column: result.score(column) for column in columns} | of_run
                    if after := _weights(store, result):
                        before = _weights(store, results.get(run.parent)) if run.parent else {}
                        of_run |= measures(before, after, ModelCard.model_validate(run.model))
                for score, value in of_run.items():
                    if isfinite(value):
                        of_cell.setdefault(score, {})[run.seed] = value
    return values, losses


def early(losses: Sequence[float]) -> float:
    return float(np.mean(losses[: max(1, len(losses) // QUARTER)]))


def _weights(store: Store, result: Result | None) -> Weights | None:
    """The weights that a run ended with, where they were kept."""
    from safetensors.numpy import load

    file = store.valid_weights(result) if result else None
    return load((store.weights / file.name).read_bytes()) if file else None


def measures(before: Weights | None, after: Weights, model: ModelCard) -> dict[str, float]:
    """Norms of weights, and mean stable ranks of their changes, by group. before: weights missing there were zero; None
    where they are unknown, and then there are no ranks."""
    groups = {name: parameter.group for name, parameter in transformer(model, 1, 1).parameters.items()}  # of any size
    squares, ranks = dict[str, float](), dict[str, list[float]]()
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
