"""What runs leave: their scores, how their loss began to fall, and the weights that they ended with.

A change of an update rule may show there and in no score: dropped decay in norms of weights, matrices routed to another
rule in the stable ranks of what they were changed by, a lost warm-up in the first losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import ModelCard
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Result, Run
from synthbench.scores import SCORES
from synthbench.store.results import Store
from synthbench.trainer.layout import transformer

UPDATES = "update_norm."  # of the scores, those of what an update changed
EARLY = "early_loss"  # the mean training loss over the first quarter of a stage
NORM = "weight_norm"  # of a group of parameters, at the end of a stage
RANK = "update_rank"  # mean stable rank of the changes of a group's matrices over a stage (adapters: of their factors)
UNITS = {EARLY: "nats/token", NORM: "norm", RANK: "rank"}
OF_WEIGHTS = (NORM, RANK)
QUARTER = 4

Weights = Mapping[str, NDArray[np.floating[Any]]]


class Ends(NamedTuple):
    """By cell (`STAGE/UPDATE`). values: by score and seed. curves: training losses over equal parts of a stage, means over
    seeds."""

    values: dict[str, dict[str, dict[int, float]]]
    curves: dict[str, list[float]]


def ends(folder: Path, experiment: Experiment) -> Ends:
    """Of the sound runs of an experiment of one optimizer whose rates are fixed, and of no others in the folder. Scores are
    read, and weights looked at where they were kept, at the end of the last stage."""
    last, columns = experiment.card.stages[-1].name, gated(experiment.card.columns)
    values: dict[str, dict[str, dict[int, float]]] = {}
    losses: dict[str, list[list[float]]] = {}
    with closing(Store.read(folder)) as store:
        results = store.results()
        for cell, runs in Plan(experiment, results).cells().items():
            where = f"{cell.stage}/{cell.update}"
            of_cell = values.setdefault(where, {})
            for run in runs:
                result = results[run.id]
                if result.status != "ok":
                    continue
                curve = store.curve(result)
                losses.setdefault(where, []).append(curve)
                found = {EARLY: early(curve)}
                if cell.stage == last:
                    scores = {name: result.score(name) for name in columns}
                    found = scores | found | of_weights(store, run, results)
                for name, value in found.items():
                    if isfinite(value):
                        of_cell.setdefault(name, {})[run.seed] = value
    return Ends(values, {where: np.mean(own, axis=0).tolist() for where, own in losses.items()})


def gated(columns: Sequence[str]) -> list[str]:
    """The scores that are compared: those of a card's columns that are read at the end, and the norms of updates."""
    own = [name for name in columns if SCORES[name].level == "point"]
    return list(dict.fromkeys([*own, *(name for name in SCORES if name.startswith(UPDATES) and "@" not in name)]))


def of_weights(store: Store, run: Run, results: Mapping[str, Result]) -> dict[str, float]:
    """What the weights tell that a run ended with; nothing where they were not kept."""
    after = weights(store, results[run.id])
    if after is None:
        return {}
    before = weights(store, results.get(run.parent)) if run.parent else {}
    return measures(before, after, ModelCard.model_validate(run.model))


def weights(store: Store, result: Result | None) -> Weights | None:
    """What a run ended with, where it was kept."""
    from safetensors.numpy import load

    kept = store.valid_weights(result) if result else None
    return load((store.weights / kept.name).read_bytes()) if kept else None


def early(losses: list[float]) -> float:
    return float(np.mean(losses[: max(1, len(losses) // QUARTER)]))


def measures(before: Weights | None, after: Weights, model: ModelCard) -> dict[str, float]:
    """Norms of weights, and mean stable ranks of their changes, by group. before: what is not among it was nothing; None
    where it is not known, and then no ranks are."""
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
    return norms | {f"{RANK}.{group}": float(np.mean(own)) for group, own in ranks.items()}


def stable_ranks(matrices: NDArray[np.floating[Any]]) -> list[float]:
    """The squared Frobenius norm over the squared largest singular value, of each matrix; of one that is 0, 0."""
    singular = np.linalg.svd(matrices.reshape(-1, *matrices.shape[-2:]).astype("f8"), compute_uv=False)
    largest = singular[:, 0] ** 2
    return ((singular**2).sum(-1) / np.where(largest > 0, largest, 1.0)).tolist()  # type: ignore[no-any-return]
